"""Full-Duplex-Bench v1.5 in miniature: what is heard while the model speaks, and whether it goes on or gives way.

Four scenarios, and the recital alone beside them. A question meant for the model: *respond*, that is stop and answer
it. The user's "yeah", talk to somebody else, far-off voices: *resume*, that is say the list to its end, nothing else.
The score is the mean of the four rates. After Lin et al. 2025 (Full-Duplex-Bench v1.5), written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

from tml_lab.bench.benchmark import FULL_SIZE, Benchmark
from tml_lab.bench.emissions import Emissions, Word
from tml_lab.bench.fdb import STOP_WITHIN, answered, latency
from tml_lab.bench.grading import EPSILON, Estimate, bootstrap
from tml_lab.bench.items import draw
from tml_lab.bench.scoring import by_family
from tml_lab.worlds.families.overlap import OVERLAPS
from tml_lab.worlds.lexicon import DAYS, LEAD, NUMBERS
from tml_lab.worlds.stage import Episode

FAMILIES = tuple(f"overlap_{kind}" for kind in OVERLAPS)
ALONE, RESPOND = FAMILIES[0], FAMILIES[1]
LISTS = (NUMBERS[1:11], DAYS)
NEXT = {pair for listed in LISTS for pair in pairwise(listed)}
LAST = {listed[-1] for listed in LISTS}


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


def strands(item: Episode, log: Emissions) -> list[list[Word]]:
    """What is said at a stretch: the list with its gaps; the answer by itself, even where no silence parts them."""
    end, answer = overlap_of(item)[1], item.expects[0].words
    found: list[list[Word]] = []
    for word in log.spoken():
        last = found[-1][-1] if found else Word(-inf, -inf, "")
        sounds_on, goes_on = word.start <= last.end + EPSILON, (last.text, word.text) in NEXT
        answers = word.start >= end - EPSILON and word.text in (*LEAD, *answer)
        if (sounds_on and goes_on) or ((sounds_on or goes_on) and not answers):
            found[-1].append(word)
        else:
            found.append([word])
    return found


def stop_latency(item: Episode, log: Emissions) -> float | None:
    """Seconds from the beginning of an interruption to the end of what was being said then.

    None where nothing was being said. Infinity where that did not stop: it came to the list's own end, or was still to
    be heard `STOP_WITHIN` seconds after the interruption was over. (The published script counts no further than to the
    interruption's end, which makes never stopping look like a stop.)
    """
    start, end = overlap_of(item)
    for said in strands(item, log):
        if said[0].start <= start < said[-1].end:
            went_on = said[-1].text in LAST or said[-1].end > end + STOP_WITHIN + EPSILON
            return inf if went_on else said[-1].end - start
    return None


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`score` over the four scenarios and each one's rate; `alone`: recitals said to the end with nothing heard.

    Of interruptions: `had_floor`, how often something was being said; of these `stopped`, and `stop_median_s` from the
    interruption's beginning to the silence where it did; `response_median_s` from the interruption's end to the answer.
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
        stops.append(stop_latency(item, log))
        end = overlap_of(item)[1]
        after = [said for said in strands(item, log) if said[0].start >= end - EPSILON]
        responses += [latency(after[0], end)] if after else []
    floor = [seconds for seconds in stops if seconds is not None]
    result = {
        "score": bootstrap(rates, seed),
        "alone": bootstrap(alone, seed),
        "had_floor": bootstrap([float(seconds is not None) for seconds in stops], seed),
        "stopped": bootstrap([float(seconds < inf) for seconds in floor], seed),
        "stop_median_s": bootstrap([seconds for seconds in floor if seconds < inf], seed, statistic="median"),
        "response_median_s": bootstrap(responses, seed, statistic="median"),
    }
    return result | {f"score:{family}": bootstrap(values, seed) for family, values in rates.items()}


def fails(item: Episode, log: Emissions) -> list[str]:
    """`score`, where it went on instead of giving way, or the other way round; `alone`, where nothing was heard."""
    good = gives_way(item, log) if item.family == RESPOND else goes_on(log)
    return [] if good else ["alone" if item.family == ALONE else "score"]


BENCHMARK = Benchmark(
    name="fdb15",
    title="Full-Duplex-Bench v1.5: overlap",
    items=items,
    measure=measure,
    headline="score",
    goals={"score": ">= 0.90"},
    anchors={"TML-Interaction-Small": "77.8", "GPT-realtime-2.0": "46.8"},
    fails=fails,
    full=-(-FULL_SIZE // (len(FAMILIES) - 1)),  # the score is of all but `ALONE`
)
