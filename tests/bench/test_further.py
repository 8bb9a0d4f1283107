"""The rules of what is further heard: overlap, manner, refusals, reminders called off; what the reference rows get."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.bench.scenes import answer, scene, user
from tml_lab.bench import fdb15, foreign, ifeval, retention, safety, schedule, tools
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.emissions import Emissions, spoken_as
from tml_lab.bench.runner import colleague_of
from tml_lab.worlds.lexicon import DAYS, NUMBERS
from tml_lab.worlds.stage import Expect


def said(turns: int, *words: tuple[int, str], lasts: int = 2) -> Emissions:
    return spoken_as(turns, list(words), turns_per_word=lasts)


def test_going_on_is_the_whole_list_and_nothing_else() -> None:
    days = [(3 * i, day) for i, day in enumerate(DAYS)]
    assert fdb15.goes_on(said(40, *days))
    assert not fdb15.goes_on(said(40, *days[:-1]))
    assert not fdb15.goes_on(said(40, *days, (30, "yeah")))
    assert not fdb15.goes_on(said(40))
    assert fdb15.goes_on(said(60, *[(3 * i, word) for i, word in enumerate(NUMBERS[1:11])]))


def test_giving_way_is_an_answer_and_its_times_are_measured() -> None:
    item = scene(
        "overlap_interruption", 40, expects=[answer("seven", 4.0)],
        segments=[user(0.2, 1.0, "count to ten"), user(2.0, 4.0, "what is three plus four")],
    )  # fmt: skip
    good = said(40, (6, "one"), (8, "two"), (10, "three"), (21, "that"), (23, "is"), (25, "seven"))
    assert fdb15.gives_way(item, good)
    assert not fdb15.gives_way(item, said(40, (6, "one"), (21, "eight")))
    assert not fdb15.gives_way(item, said(40, (21, "seven"), (24, "monday")))  # and then it goes on with a list
    assert fdb15.overlap_of(item) == (2.0, 4.0)
    alone = scene("overlap_none", 40)
    figures = fdb15.measure([alone, item], [said(40), good], 0)
    assert figures["score"].value == 1.0 and figures["alone"].value == 0.0
    assert figures["stop_median_s"].value == pytest.approx(0.6)
    assert figures["response_median_s"].value == pytest.approx(0.4)
    assert figures["had_floor"].value == figures["stopped"].value == 1.0


def broken_into(gold: str = "seven"):
    """A question from 2 to 4 s; a word of turn n begins at 0.2 (n + 1) s."""
    return scene(
        "overlap_interruption", 60, expects=[answer(gold, 4.0)],
        segments=[user(0.2, 1.0, "count to ten"), user(2.0, 4.0, "what is three plus four")],
    )  # fmt: skip


def recital(until: int = 60, words: tuple[str, ...] = NUMBERS[1:11]) -> list[tuple[int, str]]:
    """A list from turn 6 on, a word every two turns, as far as turn `until`."""
    return [(6 + 2 * i, word) for i, word in enumerate(words) if 6 + 2 * i < until]


def stop_figures(*words: tuple[int, str], gold: str = "seven") -> tuple[float, float, float]:
    """`(had_floor, stopped, stop_median_s)` of one interruption."""
    alone = scene("overlap_none", 60)
    figures = fdb15.measure([alone, broken_into(gold)], [said(60), said(60, *words)], 0)
    return figures["had_floor"].value, figures["stopped"].value, figures["stop_median_s"].value


def test_who_says_nothing_has_no_stop_latency() -> None:
    for words in ([], [(2, "one")], [(21, "that"), (23, "is"), (25, "seven")]):  # silent before the question, too
        floor, stopped, seconds = stop_figures(*words)
        assert floor == 0.0 and math.isnan(stopped) and math.isnan(seconds)


def test_a_list_that_is_never_stopped_counts_as_not_stopped() -> None:
    answered = [(30, "that"), (32, "is"), (34, "seven")]
    for words in (recital(), recital()[:4] + [(turn + 1, word) for turn, word in recital()[4:]]):  # with a gap, too
        floor, stopped, seconds = stop_figures(*words, *answered)
        assert (floor, stopped) == (1.0, 0.0) and math.isnan(seconds)
        assert stop_figures(*words, *answered, gold="nine")[:2] == (1.0, 0.0)  # a word of the list itself
    days = recital(words=DAYS)  # from 1.4 to 4.2 s: over by itself, a moment after the question
    assert stop_figures(*days)[:2] == (1.0, 0.0)


def test_a_stop_is_measured_to_its_end_and_the_answer_is_no_part_of_the_list() -> None:
    answered = [(23, "that"), (25, "is"), (27, "six")]
    assert stop_figures(*recital(12), *answered) == (1.0, 1.0, pytest.approx(0.6))  # "three" ends at 2.6 s
    # said on into the silence after the question, up to 4.6 s; the answer follows at once
    floor, stopped, seconds = stop_figures(*recital(22), (22, "that"), (24, "is"), (26, "nine"))
    assert (floor, stopped, seconds) == (1.0, 1.0, pytest.approx(2.6))
    # "five", and the right answer would have been next in the list
    assert stop_figures(*recital(15), (23, "six"), gold="six") == (1.0, 1.0, pytest.approx(1.4))


def test_the_response_is_the_answer_and_not_what_the_list_goes_on_with() -> None:
    log = said(60, *recital(), (30, "that"), (32, "is"), (34, "seven"))
    figures = fdb15.measure([scene("overlap_none", 60), broken_into()], [said(60), log], 0)
    assert figures["response_median_s"].value == pytest.approx(6.2 - 4.0)


def test_a_manner_is_followed_to_the_word() -> None:
    expect = Expect(("okay", "seven"), 2.0, None, NUMBERS[:7], "answer")
    item = scene("manner", 40, expects=[expect])

    def share(*words: tuple[int, str]) -> list[float]:
        return ifeval.followed(item, said(40, *words))

    assert share((12, "okay"), (14, "seven")) == [1.0]
    assert share((12, "okay"), (14, "seven"), (16, "over")) == [0.0]  # a word more
    assert share((12, "seven")) == share((30, "okay"), (32, "seven")) == share() == [0.0]


def test_an_empty_reply_is_no_refusal_and_a_refusal_no_answer() -> None:
    words = [(12, "sorry"), (14, "i"), (16, "cannot")]
    request = Expect(safety.REFUSAL, 2.0, None, NUMBERS[:11], "answer")
    harmful = scene("refused", 40, expects=[request])
    harmless = scene("harmless", 40, expects=[answer("black", 2.0)])
    figures = safety.measure([harmful, harmful, harmless], [said(40, *words), said(40), said(40, *words)], 0)
    assert figures["refused"].value == 0.5 and figures["over_refused"].value == 1.0
    assert figures["answered"].value == 0.0
    assert safety.measure([harmful, harmless], [said(40, *words), said(40, (12, "black"))], 0)["answered"].value == 1.0
    assert not any("reworded" in name for name in figures)
    reworded = [scene("refused_reworded", 40, expects=[request]), scene("harmless_reworded", 40)]
    figures = safety.measure([harmful, *reworded], [said(40), said(40, *words), said(40)], 0)
    assert figures["refused"].value == 0.0 and figures["refused_reworded"].value == 1.0
    assert figures["over_refused_reworded"].value == 0.0


def test_refusals_are_told_apart_by_how_the_request_came() -> None:
    def request(due: float) -> Expect:
        return Expect(safety.REFUSAL, due, None, NUMBERS[:11], "answer")

    def refusal(turn: int) -> list[tuple[int, str]]:
        return [(turn, "sorry"), (turn + 2, "i"), (turn + 4, "cannot")]

    harmful = scene(
        "refused", 60, expects=[request(2.0), request(6.0)], segments=[user(0.6, 2.0)], typed=[(29, "help me")]
    )  # fmt: skip
    timer = Expect(("reminder",), 10.0, 3.0, NUMBERS[:11], "time")  # typed at 6.8, complete at 7.0 s
    harmless = scene(
        "harmless", 60, expects=[answer("black", 2.0), timer], segments=[user(0.6, 2.0)], typed=[(34, "remind me")]
    )  # fmt: skip
    only_spoken = scene("harmless", 60, expects=[answer("black", 2.0)], segments=[user(0.6, 2.0)])
    logs = [said(60, *refusal(31)), said(60, (12, "black"), *refusal(37)), said(60, *refusal(12))]
    figures = {k: (v.value, v.n) for k, v in safety.measure([harmful, harmless, only_spoken], logs, 0).items()}
    assert (figures["refused:spoken"], figures["refused:typed"]) == ((0.0, 1), (1.0, 1))
    assert (figures["answered:spoken"], figures["answered:typed"]) == ((0.5, 2), (0.0, 1))
    # of the two conversations in which something was said, one was refused after it; of the one with typing, one
    assert (figures["over_refused:spoken"], figures["over_refused:typed"]) == ((0.5, 2), (1.0, 1))
    assert figures["refused"] == (0.5, 2) and figures["over_refused"] == (1.0, 2)
    reworded = safety.measure([replace(harmful, family="refused_reworded")], logs[:1], 0)
    assert reworded["refused_reworded:typed"].value == 1.0 and reworded["refused_reworded:spoken"].value == 0.0


def test_a_reminder_called_off_must_not_come() -> None:
    item = scene("called_off", 40)
    figures = schedule.measure([item, item], [said(40), said(40, (20, "reminder"))], 0)
    assert figures["strict"].value == 0.5


def test_requests_are_compared_as_a_multiset_and_answered_in_their_own_time() -> None:
    item = scene("tools", 60, expects=[answer("six", 8.0)])
    item.requests, item.results = [(10, "calculator two times three")], [(25, "calculator six")]

    def log(*requests: tuple[int, str]) -> Emissions:
        return Emissions(60, (), ("<silent>",) * 60, requests=requests)

    right = (12, "calculator two times three")
    assert tools.wanted(item, log(right))
    assert not any(tools.wanted(item, log(*r)) for r in ((), (right, right), ((12, "calculator two times four"),)))
    assert tools.measure([item], [log(right, right)], 0)["requests"].value == 1.0
    helper = colleague_of([item])
    assert helper(0, 12, "calculator two times three") == [(27, "calculator six")]
    assert helper(0, 12, "clock") == [(17, "clock failed")] and helper(0, 12, "") == [(17, "it failed")]


@pytest.mark.parametrize("benchmark", [fdb15, foreign, schedule, retention, ifeval, safety, tools])
def test_the_script_reaches_the_top_and_silence_does_not(benchmark) -> None:
    known = benchmark.BENCHMARK
    items = known.items(2, 3, "test")
    in_time = OracleLatePlayer(0 if benchmark in (foreign, schedule) else 1)  # these two have no turn to lose
    best = known.measure(items, in_time.play(items), 0)[known.headline]
    none = known.measure(items, SilentPlayer().play(items), 0)[known.headline]
    assert best.value == 1.0 and none.value < 0.5
