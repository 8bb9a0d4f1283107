"""Audio MultiChallenge in miniature: what was said up to a minute ago, slips that were corrected, mistakes pointed out.

Families: facts and the questions about them; statements of which the wrong ones are corrected as they are heard.
`right` per question or mistake; `strict` per item: nothing said at what is right. After Audio MultiChallenge (2025).
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import by_family, delays, grade_all
from tml_lab.worlds.stage import Episode

FAMILIES = ("facts", "wrong")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`right` and `strict`, over both families and `right` for each; the median delay."""
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
    name="retention",
    title="Retention and self-correction",
    items=items,
    measure=measure,
    headline="right",
    goals={"right": ">= 0.90"},
    anchors={"TML-Interaction-Small": "43.4"},
)
