"""Full-Duplex-Bench v3 in miniature: is the right tool called with the right arguments, and its result said?

`pass1`: the share of items whose requests to the background model are exactly those wanted, as a multiset, words and
all. `answered`: of the results that came back, those said rightly and in time; nothing may be said over the user.
After Full-Duplex-Bench v3 (2026), in a closed world of five tools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap, grade_item
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import delays, grade_all
from tml_lab.worlds.stage import Episode


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` conversations, each with one to three requests."""
    return draw(("tools",), n, seed, split, graded)


def wanted(item: Episode, log: Emissions) -> bool:
    """Were exactly the requests made that the item wants?"""
    return Counter(text for _, text in log.requests) == Counter(text for _, text in item.requests)


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`pass1` per item; `requests`: the share of wanted requests that were made; `answered`; the median delay."""
    grades = grade_all(episodes, logs)
    made = []
    for item, log in zip(episodes, logs, strict=True):
        left = Counter(text for _, text in log.requests)
        for _, text in item.requests:
            made.append(float(left[text] > 0))
            left[text] -= 1
    return {
        "pass1": bootstrap([float(wanted(item, log)) for item, log in zip(episodes, logs, strict=True)], seed),
        "requests": bootstrap(made, seed),
        "answered": bootstrap([float(hit.onset is not None) for grade in grades for hit in grade.hits], seed),
        "delay_median_s": bootstrap(delays(grades), seed, statistic="median"),
    }


def fails(item: Episode, log: Emissions) -> list[str]:
    """`pass1`, where other requests were made than wanted; `answered`, where a result was not said in time."""
    wrong = {"pass1": not wanted(item, log), "answered": grade_item(item.expects, log.spoken()).met < 1.0}
    return [name for name, is_wrong in wrong.items() if is_wrong]


BENCHMARK = Benchmark(
    name="tools",
    title="Full-Duplex-Bench v3: tools",
    items=items,
    measure=measure,
    headline="pass1",
    goals={"pass1": ">= 0.90"},
    fails=fails,
    anchors={"TML-Interaction-Small (Pass@1)": "68.0"},
)
