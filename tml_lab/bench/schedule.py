"""More of TimeSpeak: several reminders, called off or moved, up to a minute ahead; how long it was quiet, or
somebody did something before the camera.

Windows and strictness as in TimeSpeak; where a reminder was called off, any word at all is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark, strictly
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw
from tml_lab.bench.scoring import by_family, delays, grade_all
from tml_lab.bench.timespeak import on_the_clock
from tml_lab.worlds.stage import Episode

FAMILIES = ("reminders", "called_off", "quiet_for", "how_long_seen")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, on_the_clock)


def fails(item: Episode, log: Emissions) -> list[str]:
    """`strict`; where nothing is due, any word at all."""
    return strictly(item, log) if item.expects or not log.words else ["strict"]


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`strict` over all families and for each; `met`: the share of what was due; the median delay."""
    grades = grade_all(episodes, logs)
    strict = by_family(episodes, [float(not fails(item, log)) for item, log in zip(episodes, logs, strict=True)])
    result = {
        "strict": bootstrap(strict, seed),
        "met": bootstrap([float(hit.onset is not None) for grade in grades for hit in grade.hits], seed),
        "delay_median_s": bootstrap(delays(grades), seed, statistic="median"),
    }
    return result | {f"strict:{family}": bootstrap(values, seed) for family, values in strict.items()}


BENCHMARK = Benchmark(
    name="schedule",
    title="TimeSpeak, further",
    items=items,
    measure=measure,
    headline="strict",
    goals={"strict": ">= 0.95"},
    fails=fails,
)
