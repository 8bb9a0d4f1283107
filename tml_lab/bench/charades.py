"""Charades: when does the action begin, and when does it end?

Clips of 30 seconds, actions of 2 to 8. The first `start` to the next `stop` against the true interval, as intersection
over union; a missing word is 0. A best constant interval would score .22, perfect words 0.4 s late .83. After Charades
(Sigurdsson et al. 2016) as an interaction benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions, Word
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import draw, graded
from tml_lab.worlds.stage import Episode

GOAL = 0.75  # intersection over union, as a mean over clips
Interval = tuple[float, float]


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` clips."""
    return draw(("start_stop",), n, seed, split, graded)


def interval(words: Sequence[Word]) -> Interval | None:
    """From the first `start` to the first `stop` after it, seconds of the played clock; None where one is missing."""
    start = next((w.start for w in words if w.text == "start"), None)
    stop = next((w.start for w in words if w.text == "stop" and start is not None and w.start > start), None)
    return None if start is None or stop is None else (start, stop)


def overlap(a: Interval, b: Interval) -> float:
    """Intersection over union of two intervals."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    return max(0.0, common) / (max(a[1], b[1]) - min(a[0], b[0]))


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`miou`; `both`: the share of clips with both words; `late_s`: how long after the true start the first word came,
    of clips that overlap at all (median)."""
    found = [interval(log.spoken()) for log in logs]
    true = [(item.expects[0].due, item.expects[1].due) for item in episodes]
    scores = [0.0 if f is None else overlap(f, t) for f, t in zip(found, true, strict=True)]
    late = [f[0] - t[0] for f, t, score in zip(found, true, scores, strict=True) if f is not None and score > 0]
    return {
        "miou": bootstrap(scores, seed),
        "both": bootstrap([float(f is not None) for f in found], seed),
        "late_s": bootstrap(late, seed, statistic="median"),
    }


def fails(item: Episode, log: Emissions) -> list[str]:
    """`both`, where a word is missing; else `miou`, where the overlap is less than the goal for all clips."""
    found, true = interval(log.spoken()), (item.expects[0].due, item.expects[1].due)
    if found is None:
        return ["both"]
    return [] if overlap(found, true) >= GOAL else ["miou"]


BENCHMARK = Benchmark(
    name="charades",
    title="Charades (start and stop of an action)",
    items=items,
    measure=measure,
    headline="miou",
    goals={"miou": f">= {GOAL:.2f}"},
    anchors={"TML-Interaction-Small": "32.4", "GPT-realtime-2.0": "0"},
    fails=fails,
)
