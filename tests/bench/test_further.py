"""The rules of what is further heard: overlap, manner, refusals, reminders called off; what the reference rows get."""

from __future__ import annotations

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
    best = known.measure(items, OracleLatePlayer().play(items), 0)[known.headline]
    none = known.measure(items, SilentPlayer().play(items), 0)[known.headline]
    assert best.value == 1.0 and none.value < 0.5
