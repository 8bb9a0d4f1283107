"""QIVD in miniature: spoken questions about what is in view, or was.

A question is right when its answer, and no other of its closed answers, is said within three seconds of its end.
After "Can Vision-Language Models Answer Face to Face Questions in the Real-World?" (Pourreza et al. 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import by_family, delays, grade_all
from tml_lab.worlds.stage import Episode

FAMILIES = ("look", "before")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`right` per question, over both families and for each; `strict` per item; the median delay."""
    grades = grade_all(episodes, logs)
    right: dict[str, list[float]] = {}
    for item, grade in zip(episodes, grades, strict=True):
        right.setdefault(item.family, []).extend(float(hit.onset is not None) for hit in grade.hits)
    result = {
        "right": bootstrap(right, seed),
        "strict": bootstrap(by_family(episodes, [float(grade.strict) for grade in grades]), seed),
        "delay_median_s": bootstrap(delays(grades), seed, statistic="median"),
    }
    return result | {f"right:{family}": bootstrap(values, seed) for family, values in right.items()}


BENCHMARK = Benchmark(
    name="qivd",
    title="QIVD (questions about what is seen)",
    items=items,
    measure=measure,
    headline="right",
    goals={"right": ">= 0.90"},
    anchors={"TML-Interaction-Small": "54.0"},
)
