"""TimeSpeak: right content at the right time, when nothing but the clock says that the time has come.

Families: a reminder after N seconds, a word every N seconds until "stop", and how long the user talked.
Window `[t* - max(.4, .1 D), t* + max(.8, .1 D)]`, D the interval that was asked for; strict; macro over
families. Asked how long, the answer is due when the question is complete, and D is the interval that it is
about. After the TimeSpeak of Thinking Machines' interaction-model post (May 2026), in miniature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import by_family, delays, grade_all
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.stage import Episode

FAMILIES = ("remind", "tick", "how_long")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, on_the_clock)


def on_the_clock(item: Episode) -> Episode:
    """The item with answers in seconds due as everything else is here, where other questions leave 3 s to answer in."""
    expects = [
        replace(e, kind="time", asked=float(NUMBERS.index(e.words[0])))
        if e.kind == "answer" and e.words[-1] in ("second", "seconds") else e
        for e in item.expects
    ]  # fmt: skip
    return graded(replace(item, expects=expects))


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`strict` and `met` (share of the expectations), each family's strict, the median delay, strays per
    item."""
    grades = grade_all(episodes, logs)
    strict = by_family(episodes, [float(grade.strict) for grade in grades])
    result = {
        "strict": bootstrap(strict, seed),
        "met": bootstrap(by_family(episodes, [grade.met for grade in grades]), seed),
        "delay_median_s": bootstrap(delays(grades), seed, statistic="median"),
        "strays_per_item": bootstrap([float(len(grade.strays)) for grade in grades], seed),
    }
    return result | {f"strict:{family}": bootstrap(values, seed) for family, values in strict.items()}


BENCHMARK = Benchmark(
    name="timespeak",
    title="TimeSpeak",
    items=items,
    measure=measure,
    headline="strict",
    goals={"strict": ">= 0.90"},
    anchors={"TML-Interaction-Small": "64.7", "GPT-realtime-2.0": "4.3"},
)
