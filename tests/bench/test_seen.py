"""The rules of what is seen: counts, intervals, spans; and what the reference rows get by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.scenes import cue, scene
from tml_lab.bench import charades, proactive, qivd, repcount
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.emissions import Emissions, Word, spoken_as
from tml_lab.bench.grading import bootstrap
from tml_lab.worlds.curriculum import LESSONS
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.stage import Expect


def said(turns: int, *words: tuple[int, str]) -> Emissions:
    return spoken_as(turns, list(words), turns_per_word=2)


def test_the_count_is_the_last_number_after_the_penultimate_repetition() -> None:
    item = scene("count_actions", 50, expects=[cue(NUMBERS[k], 2.0 * k) for k in (1, 2, 3, 4)])
    right = said(50, (9, "one"), (19, "two"), (29, "three"), (39, "four"))
    assert repcount.counted(item, right) == 4
    assert repcount.counted(item, said(50, (9, "one"), (19, "two"), (29, "three"))) == 3
    assert repcount.counted(item, said(50, (9, "one"), (19, "two"))) is None  # stopped counting too early
    assert repcount.counted(item, said(50, (39, "four"), (45, "yeah"))) == 4
    figures = repcount.measure([item, item, item], [right, said(50, (40, "six")), said(50)], 0)
    assert figures["obo"].value == pytest.approx(1 / 3) and figures["exact"].value == pytest.approx(1 / 3)
    assert figures["mae"].value == pytest.approx((0 + 2 / 4.1 + 4 / 4.1) / 3)
    assert figures["on_time"].value == pytest.approx(4 / 12)


def test_the_best_constant_count_is_right_in_a_sixth_of_the_items() -> None:
    true = range(3, 21)
    assert max(sum(abs(k - t) <= 1 for t in true) for k in range(25)) / len(true) == pytest.approx(1 / 6, abs=0.01)


@given(*[st.floats(0, 30) for _ in range(4)])
def test_overlap_is_a_share_and_the_same_both_ways(a: float, b: float, c: float, d: float) -> None:
    first, second = (min(a, b), max(a, b) + 1e-3), (min(c, d), max(c, d) + 1e-3)
    share = charades.overlap(first, second)
    assert 0 <= share <= 1 and share == charades.overlap(second, first)
    assert charades.overlap(first, first) == 1


def test_an_interval_goes_from_the_first_start_to_the_next_stop() -> None:
    def words(*pairs: tuple[float, str]) -> list[Word]:
        return [Word(at, at + 0.4, text) for at, text in pairs]

    assert charades.interval(words((1, "stop"), (2, "start"), (3, "start"), (5, "stop"), (7, "stop"))) == (2, 5)
    assert charades.interval(words((2, "start"))) is None and charades.interval([]) is None
    item = scene("start_stop", 60, expects=[cue("zero", 4.0), cue("one", 8.0)])
    late = said(60, (21, "start"), (41, "stop"))  # both 0.4 s late
    figures = charades.measure([item, item], [late, said(60)], 0)
    assert figures["miou"].value == pytest.approx((3.6 / 4.4) / 2) and figures["both"].value == 0.5
    assert figures["late_s"].value == pytest.approx(0.4)


def seen(words: tuple[str, ...], due: float, until: float) -> Expect:
    return Expect(words, due, None, ("blue", "green", "square", "star", "yellow", "pink", "brown"), "cue", until)


def test_the_area_of_a_span_by_hand() -> None:
    assert proactive.pauc((2.0, 6.0), []) == 0.25
    assert proactive.pauc((2.0, 6.0), [(2.0, 2)]) == 1.0
    assert proactive.pauc((2.0, 6.0), [(4.0, 2)]) == pytest.approx((1 * 0.5 + 3 * 2) / 8)
    assert proactive.pauc((2.0, 6.0), [(2.0, 1), (6.0, 2)]) == pytest.approx((2 * 1 + 2 * 2) / 8)
    assert proactive.pauc((2.0, 6.0), [(2.0, 0)]) == 0.0  # worse than silence
    assert proactive.pauc((2.0, 6.0), [(2.0, 2), (4.0, 0)]) == 1.0  # what was said stays said


def points(expect: Expect, text: str) -> int:
    return proactive.score(expect, [Word(0.0, 0.1, word) for word in text.split()])


def test_each_of_two_slots_gives_one_point_and_two_answers_in_a_slot_give_none() -> None:
    """The rule: 2 both right, 1 one right, 0; in each slot no other member of its closed answers."""
    expect = seen(("red", "ball"), 2.0, 6.0)
    worth = {
        "red ball": 2, "red": 1, "a ball": 1, "yeah": 0, "blue ball": 1, "red square": 1, "blue square": 0,
        "red blue ball": 1, "red ball star": 1, "red ball blue star": 0, "ball blue red star": 0,
    }  # fmt: skip
    assert {text: points(expect, text) for text in worth} == worth


def test_one_slot_gives_all_or_nothing() -> None:
    colour = seen(("red",), 2.0, 6.0)
    assert (points(colour, "red"), points(colour, "red blue"), points(colour, "red square")) == (2, 0, 0)
    number = Expect(("five",), 2.0, None, tuple(w for w in NUMBERS if w != "five"), "cue", 6.0)
    assert (points(number, "five"), points(number, "that is five"), points(number, "six")) == (2, 2, 0)
    assert points(number, "thirty five") == points(number, "five hundred") == 0  # other numbers


def test_a_span_ends_where_the_next_begins_and_what_lies_outside_is_counted() -> None:
    item = scene("appears", 60, expects=[seen(("red", "ball"), 2.0, 9.0), seen(("pink", "ball"), 5.0, 7.0)])
    assert proactive.spans(item) == [(2.0, 5.0), (5.0, 7.0)]
    figures = proactive.measure([item], [said(60, (3, "red"), (50, "red"))], 0)
    assert figures["outside_per_item"].value == 2 and figures["pauc"].value == 0.25


@pytest.mark.parametrize("benchmark", [repcount, charades, proactive, qivd])
def test_the_script_nearly_reaches_the_top_and_silence_the_bottom(benchmark) -> None:
    known = benchmark.BENCHMARK
    items = known.items(3, 0, "test")
    assert all(item.scene is not None and item.split == "test" for item in items)
    best = known.measure(items, OracleLatePlayer(0).play(items), 0)[known.headline]
    none = known.measure(items, SilentPlayer().play(items), 0)[known.headline]
    assert best.value >= (0.75 if benchmark is charades else 0.9)
    assert none.value == (0.25 if benchmark is proactive else 0.0)
    assert bootstrap([1.0], 0).n == 1


def test_captured_people_are_counted_too_and_are_never_in_training() -> None:
    items = repcount.CAPTURED.items(3, 0, "test")
    assert all(item.scene is not None and 3 <= len(item.expects) <= 20 for item in items)
    assert "count_captured" not in LESSONS["everything"]


def test_a_clip_of_charades_is_thirty_seconds_with_one_action() -> None:
    for item in charades.items(4, 1, "test"):
        assert item.n_turns == 150 and len(item.expects) == 2
        assert 0.8 <= item.expects[1].due - item.expects[0].due <= 8.1


def test_a_third_of_the_scenes_stand_before_real_clips_that_training_never_shows() -> None:
    pytest.importorskip("av")
    scenes = [item.scene for item in charades.items(20, 2, "test")]
    behind = [scene.footage for scene in scenes if scene is not None and not scene.plain]
    assert len(behind) == 20 and set(behind) == {None, "test"} and 3 <= behind.count("test") <= 12
    assert [scene and scene.footage for scene in scenes] == [
        item.scene and item.scene.footage for item in charades.items(20, 2, "test")
    ]
