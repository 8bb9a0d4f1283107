"""Restraint: how often the model speaks when nobody spoke to it.

Families: background speech (questions and numbers included), talk addressed to somebody else, talk with
no request in it, and noise. A false start is any word or any `<speak>` decision; counted per item, macro
over families.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw
from tml_lab.bench.scoring import by_family
from tml_lab.model.text import SPEAK
from tml_lab.worlds.stage import Episode

FAMILIES = ("background", "others", "unasked", "noise")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split)


def false_start(log: Emissions) -> bool:
    """Did the speaker make any sound at all?"""
    return bool(log.words) or SPEAK in log.decisions


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`false_starts` per item, over all families and for each; `words_per_minute` over all."""
    starts = by_family(episodes, [float(false_start(log)) for log in logs])
    rates = [60.0 * len(log.words) / (0.2 * log.turns) for log in logs]
    result = {"false_starts": bootstrap(starts, seed), "words_per_minute": bootstrap(rates, seed)}
    return result | {f"false_starts:{family}": bootstrap(values, seed) for family, values in starts.items()}


def fails(item: Episode, log: Emissions) -> list[str]:
    """`false_starts`, where there was any sound."""
    return ["false_starts"] if false_start(log) else []


BENCHMARK = Benchmark(
    name="restraint",
    title="Restraint",
    items=items,
    measure=measure,
    headline="false_starts",
    goals={"false_starts": "<= 0.05"},
    fails=fails,
)
