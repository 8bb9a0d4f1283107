"""RepCount: repetitions of an action, counted aloud as they are seen.

Counts are uniform in 3..20 (the best constant answer scores .17). The answer is the last number said after the true
penultimate repetition; `obo` is the share of items in which it is off by one at most, `mae` the mean of
|said - true| / (true + 0.1); no number is wrong, and counts as zero. Adapted from RepCount-A (Hu et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap, grade_item
from tml_lab.bench.items import draw, graded
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.stage import Episode


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes."""
    return draw(("count_actions",), n, seed, split, graded)


def captured_items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of people whose movements were captured; no training scene shows these."""
    return draw(("count_captured",), n, seed, split, graded)


def counted(item: Episode, log: Emissions) -> int | None:
    """The last number said once the true penultimate repetition was over; None where none was said."""
    after = item.expects[-2].due if len(item.expects) > 1 else 0.0
    said = [NUMBERS.index(w.text) for w in log.spoken() if w.text in NUMBERS and w.start >= after]
    return said[-1] if said else None


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`obo` and `mae`; `exact`; `on_time`: the share of repetitions whose number came within 1.5 s."""
    true = [len(item.expects) for item in episodes]
    said = [counted(item, log) for item, log in zip(episodes, logs, strict=True)]
    pairs = list(zip(true, said, strict=True))
    grades = [grade_item(item.expects, log.spoken()) for item, log in zip(episodes, logs, strict=True)]
    return {
        "obo": bootstrap([float(s is not None and abs(s - t) <= 1) for t, s in pairs], seed),
        "mae": bootstrap([abs((s or 0) - t) / (t + 0.1) for t, s in pairs], seed),
        "exact": bootstrap([float(s == t) for t, s in pairs], seed),
        "on_time": bootstrap([float(hit.onset is not None) for grade in grades for hit in grade.hits], seed),
    }


def fails(item: Episode, log: Emissions) -> list[str]:
    """`obo`, where the count is off by more than one, or missing."""
    said = counted(item, log)
    return [] if said is not None and abs(said - len(item.expects)) <= 1 else ["obo"]


BENCHMARK = Benchmark(
    name="repcount",
    title="RepCount (procedural people)",
    items=items,
    measure=measure,
    headline="obo",
    goals={"obo": ">= 0.90"},
    anchors={"TML-Interaction-Small": "35.4", "GPT-realtime-2.0": "1.3"},
    fails=fails,
)
CAPTURED = replace(
    BENCHMARK, name="repcount_captured", title="RepCount (captured people)", items=captured_items,
    goals={"obo": ">= 0.70"},
)  # fmt: skip
