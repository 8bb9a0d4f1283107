"""Exercises of notebooks/12_measuring_interactivity.ipynb."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tml_lab.bench.emissions import Word
from tml_lab.bench.grading import UTTERANCE_GAP
from tml_lab.course.exercise import Exercise, Mistake

Interval = tuple[float, float]


def _intervals(seed: int) -> tuple[Interval, Interval]:
    """Two intervals: the same, touching, one in the other, apart, or any."""
    rng = random.Random(seed)
    fixed = [((1.0, 3.0), (1.0, 3.0)), ((1.0, 2.0), (2.0, 4.0)), ((0.0, 8.0), (2.0, 4.0)), ((0.0, 1.0), (5.0, 6.0))]
    if seed < len(fixed):
        return fixed[seed]
    a, b = (sorted(rng.uniform(0, 10) for _ in range(2)) for _ in range(2))
    return (a[0], a[1] + 0.1), (b[0], b[1] + 0.1)


def _common(a: Interval, b: Interval) -> float:
    return min(a[1], b[1]) - max(a[0], b[0])


ch12_overlap = Exercise(
    module="tml_lab.bench.charades",
    attribute="overlap",
    cases=_intervals,
    atol=1e-9,
    hints=(
        "Draw both on a line. Where does what they share begin and end?",
        "Shared: from max of the starts to min of the ends; that is negative when they do not touch.",
        "max(0, shared) divided by (the later end - the earlier start) where they touch; 0 divided by anything is 0.",
    ),
    mistakes=(
        Mistake(
            lambda a, b: _common(a, b) / (max(a[1], b[1]) - min(a[0], b[0])),
            "two intervals that do not touch share nothing, not less than nothing",
        ),
        Mistake(
            lambda a, b: max(0.0, _common(a, b)) / (a[1] - a[0]),
            "divide by what both cover together, not by the first one's length",
        ),
        Mistake(
            lambda a, b: max(0.0, _common(a, b)) / (a[1] - a[0] + b[1] - b[0]),
            "what they share is counted twice in the sum of the two lengths",
        ),
        Mistake(lambda a, b: max(0.0, _common(a, b)), "these are seconds; divide by what both cover together"),
    ),
)


def _words(seed: int) -> tuple[list[Word]]:
    """None, one, or several words in any order, some of them overlapping."""
    rng = random.Random(seed)
    if seed < 2:
        return ([Word(1.0, 1.6, "one"), Word(1.8, 2.0, "two")] * seed,)
    if seed == 2:  # a long word that outlasts the next one
        return ([Word(0.0, 3.0, "long"), Word(0.5, 0.8, "short"), Word(3.2, 3.5, "after")],)
    at, words = 0.0, []
    for i in range(rng.randint(2, 7)):
        at += rng.choice([0.0, 0.2, 0.4, 0.6, 1.0])
        length = rng.choice([0.2, 0.4, 0.6])
        words.append(Word(round(at, 3), round(at + length, 3), f"w{i}"))
        at += length
    rng.shuffle(words)
    return (words,)


def _groups(words: Sequence[Word], gap: float, key: Any, sort: bool = True, strictly: bool = False) -> list[list[Word]]:
    groups: list[list[Word]] = []
    for word in sorted(words, key=lambda w: w.start) if sort else words:
        silence = word.start - key(groups[-1]) if groups else 0.0
        if groups and (silence < gap - 1e-6 if strictly else silence <= gap + 1e-6):
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _last_end(group: list[Word]) -> float:
    return group[-1].end


def _latest_end(group: list[Word]) -> float:
    return max(word.end for word in group)


ch12_utterances = Exercise(
    module="tml_lab.bench.grading",
    attribute="utterances",
    cases=_words,
    hints=(
        "Sort the words by their start, and go through them with a list of groups.",
        "A word belongs to the last group if word.start - (the end of that group) <= gap.",
        "The end of a group is the latest end of its words, max(w.end for w in group), not the last word's.",
    ),
    mistakes=(
        Mistake(
            lambda words, gap=UTTERANCE_GAP: _groups(words, gap, _latest_end, sort=False),
            "the words may come in any order: sort them by their start first",
        ),
        Mistake(
            lambda words, gap=UTTERANCE_GAP: _groups(words, gap, _last_end),
            "an earlier word may still sound: the group ends with the latest end, not with the last word's",
        ),
        Mistake(
            lambda words, gap=UTTERANCE_GAP: _groups(words, gap, lambda group: group[-1].start),
            "the silence begins where the word before ends, not where it starts",
        ),
        Mistake(
            lambda words, gap=UTTERANCE_GAP: [sorted(words, key=lambda w: w.start)] if words else [],
            "everything is one utterance; a longer silence parts two",
        ),
    ),
)


def _speech(seed: int) -> tuple[list[Word]]:
    """Speech around the two limits: nothing, a second exactly, three words, four words."""
    rng = random.Random(seed)
    fixed: list[list[Word]] = [
        [],
        [Word(2.0, 2.4, "yeah")],
        [Word(2.0 + 0.2 * i, 2.2 + 0.2 * i, "a") for i in range(4)],  # short, but four words
        [Word(2.0, 2.4, "that"), Word(3.1, 3.5, "is")],  # long by its pause
        [Word(2.0 + 0.2 * i, 2.2 + 0.2 * i, "a") for i in range(3)],
        [Word(2.0, 3.0, "seven")],  # a second exactly
    ]
    if seed < len(fixed):
        return (fixed[seed],)
    words = [Word(2.0 + 0.5 * i, 2.3 + 0.5 * i, "w") for i in range(rng.randint(1, 4))]
    rng.shuffle(words)
    return (words,)


def _lasted(words: Sequence[Word]) -> float:
    return max(w.end for w in words) - min(w.start for w in words)


ch12_takeover = Exercise(
    module="tml_lab.bench.fdb",
    attribute="takeover",
    cases=_speech,
    hints=(
        "No words: no takeover. Then two questions joined by `or`.",
        "How long from the earliest start to the latest end? At least TAKEOVER_SECONDS, less a millionth?",
        "len(words) > TAKEOVER_WORDS is the other question: more than three, so four.",
    ),
    mistakes=(
        Mistake(
            lambda words: bool(words) and (_lasted(words) > 1.0 + 1e-6 or len(words) > 3),
            "a second exactly counts: 'or more'",
        ),
        Mistake(
            lambda words: bool(words) and (_lasted(words) >= 1.0 - 1e-6 or len(words) >= 3),
            "three words are still a backchannel: more than three are needed",
        ),
        Mistake(
            lambda words: bool(words) and (sum(w.end - w.start for w in words) >= 1.0 - 1e-6 or len(words) > 3),
            "pauses between the words count: from the first start to the last end",
        ),
        Mistake(
            lambda words: bool(words) and _lasted(words) >= 1.0 - 1e-6 and len(words) > 3,
            "either is enough: a second, or more than three words",
        ),
    ),
)


def _replies(seed: int) -> tuple[Interval, list[tuple[float, int]]]:
    """A span, and none to four replies in it."""
    rng = random.Random(seed)
    a = rng.uniform(0, 5)
    b = a + rng.uniform(1, 6)
    if seed < 3:
        return (a, b), [[], [(a, 2)], [((a + b) / 2, 0)]][seed]
    times = sorted(rng.uniform(a, b) for _ in range(rng.randint(1, 4)))
    points = [rng.randint(0, 2) for _ in times]
    if seed % 3 == 0 and len(times) > 1:
        points[0], points[-1] = 2, 0  # what was said stays said
    return (a, b), list(zip(times, points, strict=True))


def _area(span: Interval, replies: Sequence[tuple[float, int]], slow: float = 0.5, start: float = 0.5,
          keep: bool = True, most: float = 2.0) -> float:  # fmt: skip
    a, b = span
    area, so_far, before, best = 0.0, start, a, 0
    for at, points in replies:
        place = a + slow * (at - a)
        area += (place - before) * so_far
        best = max(best, points) if keep else points
        before, so_far = place, best
    return (area + (b - before) * so_far) / ((b - a) * most)


ch12_pauc = Exercise(
    module="tml_lab.bench.proactive",
    attribute="pauc",
    cases=_replies,
    atol=1e-9,
    hints=(
        "Walk through the replies with three numbers: the area so far, the height now, and where it began to hold.",
        "Height 0.5 from a on. At a reply: add (place - before) * height; then the height is the best points so far.",
        "At the end add (b - before) * height, and divide by 2 * (b - a). place = a + (at - a) / 2.",
    ),
    mistakes=(
        Mistake(lambda span, replies: _area(span, replies, slow=1.0), "a delay counts half: place = a + (at - a) / 2"),
        Mistake(lambda span, replies: _area(span, replies, start=0.0), "before the first reply half a point counts"),
        Mistake(lambda span, replies: _area(span, replies, keep=False), "the best so far counts: said stays said"),
        Mistake(lambda span, replies: _area(span, replies, most=1.0), "two points are the most: divide by 2 (b - a)"),
    ),
)
