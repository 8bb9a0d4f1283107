"""Full-Duplex-Bench v1.5 in miniature: what is heard while the model speaks, and whether it goes on or gives way.

Four scenarios, and the recital alone beside them. A question meant for the model: *respond*, that is stop and answer
it. The user's "yeah", talk to somebody else, far-off voices: *resume*, that is say the list to its end, nothing else.
The score is the mean of the four rates. After Lin et al. 2025 (Full-Duplex-Bench v1.5), written anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.fdb import answered, latency
from tml_lab.bench.grading import EPSILON, Estimate, bootstrap
from tml_lab.bench.items import draw
from tml_lab.bench.scoring import by_family
from tml_lab.worlds.families.overlap import OVERLAPS
from tml_lab.worlds.lexicon import DAYS, NUMBERS
from tml_lab.worlds.stage import Episode

FAMILIES = tuple(f"overlap_{kind}" for kind in OVERLAPS)
ALONE, RESPOND = FAMILIES[0], FAMILIES[1]
LISTS = (NUMBERS[1:11], DAYS)


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each scenario, and `n` recitals alone."""
    return draw(FAMILIES, n, seed, split)


def goes_on(log: Emissions) -> bool:
    """Was one of the lists said from its beginning to its end, and nothing else?"""
    return tuple(word for _, word in log.words) in LISTS


def overlap_of(item: Episode) -> tuple[float, float]:
    """`(start, end)` in seconds of what is heard while the model recites."""
    segment = max(item.segments, key=lambda s: s.start)
    return segment.start, segment.end


def gives_way(item: Episode, log: Emissions) -> bool:
    """Was the question answered, and nothing of the list said after it was complete?"""
    expect = item.expects[0]
    after = [word.text for word in log.spoken() if word.start >= expect.due - EPSILON]
    goes_on_reciting = any(word in listed and word not in expect.words for listed in LISTS for word in after)
    return answered(expect, log.spoken()) and not goes_on_reciting


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`score` over the four scenarios and each one's rate; `alone`: recitals said to the end with nothing heard.

    `stop_median_s` from the beginning of an interruption to silence, `response_median_s` from its end to the answer.
    """
    good = [
        gives_way(item, log) if item.family == RESPOND else goes_on(log)
        for item, log in zip(episodes, logs, strict=True)
    ]
    rates = by_family(episodes, [float(value) for value in good])
    alone = rates.pop(ALONE)
    stops, responses = [], []
    for item, log in zip(episodes, logs, strict=True):
        if item.family != RESPOND:
            continue
        start, end = overlap_of(item)
        during = [word for word in log.spoken() if start <= word.start < end]
        stops.append(max((word.end for word in during), default=start) - start)
        after = [word for word in log.spoken() if word.start >= end - EPSILON]
        responses += [latency(after, end)] if after else []
    result = {
        "score": bootstrap(rates, seed),
        "alone": bootstrap(alone, seed),
        "stop_median_s": bootstrap(stops, seed, statistic="median"),
        "response_median_s": bootstrap(responses, seed, statistic="median"),
    }
    return result | {f"score:{family}": bootstrap(values, seed) for family, values in rates.items()}


BENCHMARK = Benchmark(
    name="fdb15",
    title="Full-Duplex-Bench v1.5: overlap",
    items=items,
    measure=measure,
    headline="score",
    goals={"score": ">= 0.90"},
    anchors={"TML-Interaction-Small": "77.8", "GPT-realtime-2.0": "46.8"},
)
