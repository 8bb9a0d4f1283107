"""ProactiveVideoQA: say what comes into view, when it comes, without being asked again.

For each span `(a, b)` the score of what has been said so far (0, 1 or 2) is added up over time, replies counted as half
as late as they were (omega = 0.5): the PAUC. Who says nothing scores .25. Two slots (colour and kind of what appears):
2 for both right, 1 for one, whatever the other is; one slot (a new colour, a direction, a written word): 2. A slot in
which something else of its closed answers is named as well is not right. Replies outside all spans are counted beside
it. After ProactiveVideoQA (Wang et al. 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions, Word
from tml_lab.bench.grading import Estimate, bootstrap, utterances
from tml_lab.bench.items import draw, graded
from tml_lab.bench.normalise import normalise, whole
from tml_lab.bench.scoring import by_family
from tml_lab.worlds.lexicon import COLOURS, THINGS
from tml_lab.worlds.stage import Episode, Expect

FAMILIES = ("appears", "new_colour", "which_way", "read")
SLOTS = (COLOURS, THINGS)  # of an answer in two words
FULL, OMEGA = 2, 0.5
GOAL = 0.80  # as a mean over items


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


def spans(item: Episode) -> list[tuple[float, float]]:
    """When each expectation makes sense: from when it is due until it is gone or the next is due."""
    starts = [expect.due for expect in item.expects]
    ends = [expect.until or expect.due + 2.0 for expect in item.expects]
    return [(a, min([b, *(s for s in starts if s > a)])) for a, b in zip(starts, ends, strict=True)]


def score(expect: Expect, reply: Sequence[Word]) -> int:
    """0, 1 or 2 for one utterance: its share of right slots."""
    said = normalise(" ".join(word.text for word in reply))
    others = {part for text in expect.contrast for part in normalise(text)} & set(said)
    right = [normalise(word) in whole(said) and not others - elsewhere(expect, word) for word in expect.words]
    return FULL * sum(right) // len(right)


def elsewhere(expect: Expect, word: str) -> set[str]:
    """What answers the other slots than that of `word`."""
    return {other for w in expect.words if w != word for slot in SLOTS if w in slot for other in slot}


def pauc(span: tuple[float, float], replies: Sequence[tuple[float, int]]) -> float:
    """The area under what has been said so far, of `(second, score)` replies in order: 0..1, .25 for silence.

    The first reply is preceded by a score of one half: silence is better than a wrong answer.
    """
    a, b = span
    area, so_far, before = 0.0, OMEGA, a
    best = 0
    for at, points in replies:
        place = a + (1 - OMEGA) * (at - a)
        area += (place - before) * so_far
        best = max(best, points)
        before, so_far = place, best
    return (area + (b - before) * so_far) / ((b - a) * FULL)


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`pauc`, over all families and for each, and `outside_per_item`: replies in no span."""
    values: dict[str, list[float]] = {}
    outside = []
    for item, log in zip(episodes, logs, strict=True):
        said = [(group[0].start, group) for group in utterances(log.spoken())]
        where = spans(item)
        for span, expect in zip(where, item.expects, strict=True):
            inside = [(at, score(expect, group)) for at, group in said if span[0] <= at < span[1]]
            values.setdefault(item.family, []).append(pauc(span, inside))
        outside.append(float(sum(not any(a <= at < b for a, b in where) for at, _ in said)))
    result = {
        "pauc": bootstrap(values, seed),
        "outside_per_item": bootstrap(by_family(episodes, outside), seed),
    }
    return result | {f"pauc:{family}": bootstrap(of, seed) for family, of in values.items()}


def fails(item: Episode, log: Emissions) -> list[str]:
    """`pauc`, where the item's own is less than the goal for all items."""
    return ["pauc"] if measure([item], [log], 0)["pauc"].value < GOAL else []


BENCHMARK = Benchmark(
    name="proactive",
    title="ProactiveVideoQA",
    items=items,
    measure=measure,
    headline="pauc",
    goals={"pauc": f">= {GOAL:.2f}"},
    anchors={"TML-Interaction-Small": "33.5"},
    fails=fails,
)
