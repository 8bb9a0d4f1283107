"""Human numbers: "repeat every number" and "number + 1", spoken by real people kept out of training.

An item is a scene of several numbers; `strict` fails it for one wrong, missing, late or extra number.
`per_number` is the share of the numbers answered rightly and in time. Window and strictness as in
CueSpeak.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import by_family, delays, grade_all
from tml_lab.worlds.stage import Episode

FAMILIES = ("repeat_numbers", "next_number")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`strict` per item and `per_number`, over both families and for each; the median delay."""
    grades = grade_all(episodes, logs)
    strict = by_family(episodes, [float(grade.strict) for grade in grades])
    numbers: dict[str, list[float]] = {}
    for item, grade in zip(episodes, grades, strict=True):
        numbers.setdefault(item.family, []).extend(float(hit.onset is not None) for hit in grade.hits)
    result = {
        "strict": bootstrap(strict, seed),
        "per_number": bootstrap(numbers, seed),
        "delay_median_s": bootstrap(delays(grades), seed, statistic="median"),
        "strays_per_item": bootstrap([float(len(grade.strays)) for grade in grades], seed),
    }
    result |= {f"strict:{family}": bootstrap(values, seed) for family, values in strict.items()}
    return result | {f"per_number:{family}": bootstrap(values, seed) for family, values in numbers.items()}


BENCHMARK = Benchmark(
    name="human_numbers",
    title="Human numbers",
    items=items,
    measure=measure,
    headline="strict",
    goals={"strict": ">= 0.80"},
    splits=("human",),
)
