"""What several benchmarks do with their items: grade them all, group them by family, collect delays."""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, ItemGrade, bootstrap, grade_item
from tml_lab.worlds.stage import Episode


def by_family(episodes: Sequence[Episode], values: Sequence[float]) -> dict[str, list[float]]:
    """Values of items, grouped by the items' families."""
    groups: dict[str, list[float]] = {}
    for item, value in zip(episodes, values, strict=True):
        groups.setdefault(item.family, []).append(value)
    return groups


def grade_all(episodes: Sequence[Episode], logs: Sequence[Emissions]) -> list[ItemGrade]:
    """One verdict per episode."""
    return [grade_item(item.expects, log.spoken()) for item, log in zip(episodes, logs, strict=True)]


def delays(grades: Sequence[ItemGrade]) -> list[float]:
    """Seconds from due to said, over every expectation that was met."""
    return [float(hit.onset - hit.due) for grade in grades for hit in grade.hits if hit.onset is not None]


def measure_right(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`right`: the share of expectations met, over all families and for each; `strict` per item; the median delay."""
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
