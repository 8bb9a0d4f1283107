"""The grading rules, by hand-computed cases and by properties."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.bench.emissions import Word
from tml_lab.bench.grading import (
    bootstrap,
    check_item,
    cue_window,
    grade_item,
    inside,
    normalise,
    time_window,
    utterances,
)
from tml_lab.model.text import number_words

NUMBERS = tuple("zero one two three four five six seven eight nine ten".split())  # noqa: SIM905


@dataclass(frozen=True)
class Expect:
    words: tuple[str, ...]
    due: float
    kind: str = "cue"
    asked: float | None = None
    contrast: tuple[str, ...] = NUMBERS


@dataclass(frozen=True)
class ExpectWithAliases(Expect):
    aliases: tuple[tuple[str, ...], ...] = ()


def said(*pairs: tuple[float, str], lasts: float = 0.4) -> list[Word]:
    return [Word(start, start + lasts, text) for start, text in pairs]


# ---- normalise


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Seven.", ("7",)),
        ("twenty five", ("20", "5")),
        ("Twenty-five", ("20", "5")),
        ("25", ("20", "5")),
        ("20", ("20",)),
        ("0", ("0",)),
        ("100", ("1", "hundred")),
        ("one hundred", ("1", "hundred")),
        ("117", ("1", "hundred", "17")),
        ("2026", ("2026",)),
        ("Don’t STOP!", ("don't", "stop")),
        ("", ()),
        (" -- ", ()),
    ],
)
def test_normalise(text: str, tokens: tuple[str, ...]) -> None:
    assert normalise(text) == tokens


@given(st.text(max_size=40))
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(" ".join(once)) == once


@given(st.integers(0, 999))
def test_a_number_is_its_spoken_parts(value: int) -> None:
    spoken = normalise(str(value))
    assert normalise(" ".join(spoken)) == spoken
    others = {normalise(str(other)) for other in range(1000) if other != value}
    assert spoken not in others


# ---- utterances


def test_words_join_over_half_a_second_and_not_over_more() -> None:
    words = [Word(0.0, 0.4, "a"), Word(0.9, 1.2, "b"), Word(1.701, 2.0, "c")]
    assert [[w.text for w in group] for group in utterances(words)] == [["a", "b"], ["c"]]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 20)), max_size=20))
def test_utterances_keep_every_word_and_respect_the_gap(spans: list[tuple[int, int]]) -> None:
    words = [Word(0.05 * start, 0.05 * (start + length), "x") for start, length in spans]
    groups = utterances(words)
    assert sorted((w.start, w.end) for g in groups for w in g) == sorted((w.start, w.end) for w in words)
    for before, after in pairwise(groups):
        assert min(w.start for w in after) - max(w.end for w in before) > 0.5


# ---- windows


def test_time_window_by_hand() -> None:
    assert time_window(5.0, 3.0) == pytest.approx((4.6, 5.8))  # D = 3: .1 D is below both floors
    assert time_window(12.0, 7.0) == pytest.approx((11.3, 12.8))  # D = 7: early side .7, late side .8
    assert time_window(30.0, 20.0) == pytest.approx((28.0, 32.0))  # D = 20
    assert cue_window(2.5) == (2.5, 4.0)


def test_edges_belong_to_the_window() -> None:
    assert inside(4.6, time_window(5.0, 3.0)) and inside(5.8, time_window(5.0, 3.0))
    assert not inside(4.599, time_window(5.0, 3.0)) and not inside(5.801, time_window(5.0, 3.0))
    assert inside(0.2 * 3, cue_window(0.6))  # 0.6000000000000001 is no later than 0.6


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot have been asked"):
        time_window(1.0, -2.0)


@given(st.floats(0, 60), st.floats(0, 60))
def test_time_windows_hold_the_due_time_and_widen_with_the_interval(due: float, interval: float) -> None:
    low, high = time_window(due, interval)
    assert low <= due <= high
    wider = time_window(due, 2 * interval)
    assert wider[1] - wider[0] >= high - low - 1e-9


# ---- items


def test_a_cued_answer_in_time_passes() -> None:
    assert grade_item([Expect(("five",), 2.0)], said((2.4, "five"))).strict


@pytest.mark.parametrize("onset", [1.9, 3.6])
def test_the_right_word_outside_its_window_fails_twice(onset: float) -> None:
    grade = grade_item([Expect(("five",), 2.0)], said((onset, "5")))
    assert grade.hits[0].onset is None
    assert grade.strays == ((onset, "5"),)


def test_a_contrast_word_anywhere_fails_the_item_but_keeps_the_hit() -> None:
    grade = grade_item([Expect(("five",), 2.0)], said((2.4, "five"), (6.0, "six")))
    assert grade.met == 1.0 and not grade.strict
    assert grade.strays == ((6.0, "6"),)


def test_listing_answers_in_the_window_fails() -> None:
    assert not grade_item([Expect(("five",), 2.0)], said((2.2, "four"), (2.6, "five"))).strict


def test_words_outside_the_closed_set_do_no_harm() -> None:
    assert grade_item([Expect(("five",), 2.0)], said((2.2, "okay"), (2.6, "five"))).strict


def test_a_neighbouring_answer_in_its_own_window_is_no_stray() -> None:
    expects = [Expect(("five",), 2.0), Expect(("six",), 2.8)]
    assert grade_item(expects, said((2.2, "five"), (3.0, "six"))).strict  # one utterance, two answers


def test_one_word_meets_one_expectation_only() -> None:
    expects = [Expect(("five",), 2.0), Expect(("five",), 2.6)]
    grade = grade_item(expects, said((2.8, "five")))
    assert [hit.onset for hit in grade.hits] == [2.8, None]
    assert grade_item(expects, said((2.4, "five"), (2.8, "five"))).strict


def test_a_gold_said_twice_inside_its_window_is_allowed() -> None:
    assert grade_item([Expect(("five",), 2.0)], said((2.2, "five"), (3.0, "five"))).strict
    assert not grade_item([Expect(("five",), 2.0)], said((2.2, "five"), (3.8, "five"))).strict


def test_a_phrase_must_be_contiguous_and_in_one_utterance() -> None:
    expect = Expect(("two", "three"), 2.0)
    assert grade_item([expect], said((2.2, "two"), (2.6, "three"))).strict
    assert not grade_item([expect], said((2.2, "two"), (2.6, "okay"), (3.0, "three"))).strict
    assert not grade_item([expect], said((2.2, "two"), (3.3, "three"))).strict  # 0.7 s of silence between


def test_only_the_first_word_of_a_phrase_must_begin_in_the_window() -> None:
    expect = Expect(("two", "three"), 2.0)
    assert grade_item([expect], said((3.4, "two"), (3.8, "three"))).strict


def test_the_longer_answer_claims_its_words() -> None:
    expects = [Expect(("twenty", "five"), 2.0), Expect(("twenty",), 2.0)]
    grade = grade_item(expects, said((2.2, "25"), (3.0, "twenty")))
    assert grade.strict and [hit.onset for hit in grade.hits] == [2.2, 3.0]


@pytest.mark.parametrize(
    ("gold", "heard"),
    [
        ("five", "twenty five"), ("five", "25"), ("five", "five hundred"), ("five", "one hundred five"),
        ("five seconds", "twenty five seconds"), ("twenty five", "five"), ("twenty", "twenty five"),
        ("one hundred", "one hundred five"), ("two twenty", "two twenty five"),
    ],
)  # fmt: skip
def test_a_number_is_none_of_its_parts(gold: str, heard: str) -> None:
    expect = Expect(tuple(gold.split()), 2.0)
    words = said(*((2.2 + 0.4 * i, word) for i, word in enumerate(heard.split())))
    grade = grade_item([expect], words)
    assert grade.hits[0].onset is None and not grade.strict
    right = said(*((2.2 + 0.4 * i, word) for i, word in enumerate(gold.split())))
    assert grade_item([expect], right).strict
    assert not grade_item([expect], [*right, *said(*((w.start + 1.0, w.text) for w in words))]).strict  # nor added


def test_no_part_of_a_number_is_the_number_nor_the_other_way_round() -> None:
    def met(gold: list[str], heard: list[str]) -> bool:
        words = said(*((2.2 + 0.4 * i, word) for i, word in enumerate(heard)))
        return grade_item([Expect(tuple(gold), 2.0)], words).met == 1.0

    for value in range(1000):
        number = number_words(value).split()
        assert met(number, number)
        for first in range(len(number)):
            for last in range(first + 1, len(number) + 1):
                part = number[first:last]
                assert part == number or not (met(part, number) or met(number, part))


def test_twenty_and_five_are_two_answers_where_both_are_due() -> None:
    expects = [Expect(("twenty",), 2.0), Expect(("five",), 2.4)]
    assert grade_item(expects, said((2.2, "twenty"), (2.6, "five"))).strict
    late = grade_item(expects, said((2.2, "twenty"), (2.6, "six")))
    assert [hit.onset for hit in late.hits] == [None, None]  # that was twenty six
    alone = grade_item([Expect(("five",), 2.4)], said((2.2, "twenty"), (3.3, "five")))
    assert alone.strict  # another utterance: two numbers, and twenty is no answer of this set


def test_aliases_count_as_gold() -> None:
    expect = ExpectWithAliases(("okay",), 2.0, "backchannel", None, (), (("yeah",), ("right",)))
    assert grade_item([expect], said((2.4, "yeah"))).strict
    assert not grade_item([expect], said((2.4, "yeah"), (9.0, "right"))).strict


def test_timed_items_allow_the_early_side() -> None:
    expect = Expect(("reminder",), 5.0, "time", 3.0, NUMBERS)
    assert grade_item([expect], said((4.6, "reminder"))).strict
    assert not grade_item([expect], said((4.4, "reminder"))).strict


def test_nothing_expected_and_nothing_said_is_right() -> None:
    grade = grade_item([], [])
    assert grade.strict and grade.met == 1.0


def test_items_that_cannot_be_graded_are_refused() -> None:
    with pytest.raises(ValueError, match="contrast set needs 8"):
        check_item([Expect(("five",), 1.0, contrast=NUMBERS[:6])])
    with pytest.raises(ValueError, match="no answer words"):
        check_item([Expect((), 1.0)])
    check_item([Expect(("five",), 1.0)])


onsets = st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=6).map(sorted)


@given(onsets, st.integers(0, 5))
def test_a_punctual_speaker_always_passes(turns: list[int], late: int) -> None:
    expects = [Expect((NUMBERS[i],), 0.8 * turn) for i, turn in enumerate(turns)]
    words = [Word(e.due + 0.2 * late, e.due + 0.2 * late + 0.2, e.words[0]) for e in expects]
    assert grade_item(expects, words).strict


@given(onsets, st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_the_order_of_the_log(turns: list[int], random: object) -> None:
    words = said(*((0.2 * turn, NUMBERS[turn % 11]) for turn in turns))
    shuffled = list(words)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expects = [Expect(("three",), 1.0), Expect(("four",), 4.0)]
    assert grade_item(expects, words) == grade_item(expects, shuffled)


@given(st.integers(0, 60), st.sampled_from(NUMBERS))
def test_an_extra_answer_word_never_helps(turn: int, extra: str) -> None:
    expects = [Expect(("three",), 2.0), Expect(("four",), 6.0)]
    good = said((2.4, "three"), (6.4, "four"))
    assert grade_item(expects, good).strict
    worse = grade_item(expects, [*good, Word(0.2 * turn + 0.05, 0.2 * turn + 0.25, extra)])
    allowed = (extra == "three" and 1.95 <= 0.2 * turn <= 3.45) or (
        extra == "four" and 5.95 <= 0.2 * turn <= 7.45
    )
    assert worse.strict == allowed


# ---- intervals


def test_bootstrap_is_seeded_and_macro() -> None:
    groups = {"a": [1.0] * 10, "b": [0.0, 1.0] * 20}
    one, two = bootstrap(groups, seed=3), bootstrap(groups, seed=3)
    assert one == two and one.value == pytest.approx(0.75) and one.n == 50
    assert one.low < 0.75 < one.high


def test_bootstrap_of_constants_has_no_width_and_of_nothing_no_value() -> None:
    same = bootstrap([1.0] * 7, seed=0)
    assert (same.value, same.low, same.high, same.n) == (1.0, 1.0, 1.0, 7)
    assert np.isnan(bootstrap([], seed=0).value)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        estimate = bootstrap((rng.random(60) < 0.7).astype(float).tolist(), seed=trial, resamples=400)
        covered += estimate.low <= 0.7 <= estimate.high
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_of_a_median() -> None:
    estimate = bootstrap([0.2, 0.4, 0.6, 0.8, 9.0], seed=0, statistic="median")
    assert estimate.value == pytest.approx(0.6) and 0.2 <= estimate.low <= estimate.high <= 9.0
