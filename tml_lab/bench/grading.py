"""The grading rules: pure functions from words with times to right and wrong.

Two rules decide every closed-answer benchmark. *Time*: the first word of the answer must begin inside a
window around the moment it was due. *Content*: the answer must stand, contiguous, in one utterance, and
nothing else from the item's set of possible answers may be said, so that listing all answers never wins.
A number is one word: "five" is not found in "twenty five".
Times are seconds; what was due is given on the heard clock, what was said on the played clock: both count
from the same zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from tml_lab.bench.emissions import Word
from tml_lab.bench.normalise import Tokens, normalise, one_number

UTTERANCE_GAP = 0.5  # seconds; words closer than this belong to one utterance
CUE_WINDOW = 1.5  # seconds after the end of the cue
ANSWER_WINDOW = 3.0  # seconds after the end of the question
MIN_CONTRAST = 8  # an item needs at least this many possible answers
EPSILON = 1e-6  # a microsecond: turn times are binary fractions of multiples of 0.2


class Expected(Protocol):
    """What an item wants (`tml_lab.worlds.episode.Expect`): the gold's words, when, and the wrong answers.

    `kind` is `cue`, `time`, `answer` or `backchannel`; `due` is the cue's end, the due time or the end of the
    user's turn, in seconds; `asked` is the interval that a timed request named, in seconds.
    """

    @property
    def words(self) -> tuple[str, ...]: ...

    @property
    def due(self) -> float: ...

    @property
    def asked(self) -> float | None: ...

    @property
    def contrast(self) -> tuple[str, ...]: ...

    @property
    def kind(self) -> str: ...


def utterances(words: Sequence[Word], gap: float = UTTERANCE_GAP) -> list[list[Word]]:
    """Words joined over silences of at most `gap` seconds."""
    groups: list[list[Word]] = []
    for word in sorted(words, key=lambda word: word.start):
        if groups and word.start - max(w.end for w in groups[-1]) <= gap + EPSILON:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


# --------------------------------------------------------------------------------------------- windows


def time_window(due: float, interval: float) -> tuple[float, float]:
    """TimeSpeak: `[t* - max(.4, .1 D), t* + max(.8, .1 D)]`, D = `interval` asked for, in seconds."""
    if interval < 0:
        raise ValueError(f"an interval of {interval} s cannot have been asked for.")
    return due - max(0.4, 0.1 * interval), due + max(0.8, 0.1 * interval)


def cue_window(cue_end: float) -> tuple[float, float]:
    """CueSpeak: `[cue end, cue end + 1.5 s]`."""
    return cue_end, cue_end + CUE_WINDOW


def window(expect: Expected) -> tuple[float, float]:
    """The window in which the first word of the answer must begin, by the kind of the expectation."""
    if expect.kind == "time":
        if expect.asked is None:
            raise ValueError("a timed expectation must name the interval that was asked for.")
        return time_window(expect.due, expect.asked)
    if expect.kind in ("cue", "backchannel"):
        return cue_window(expect.due)
    if expect.kind == "answer":
        return expect.due, expect.due + ANSWER_WINDOW
    raise ValueError(f"unknown kind of expectation {expect.kind!r}: cue, time, answer or backchannel.")


def inside(onset: float, span: tuple[float, float]) -> bool:
    """Is `onset` in the closed interval `span`?"""
    return span[0] - EPSILON <= onset <= span[1] + EPSILON


# ----------------------------------------------------------------------------------------------- items


@dataclass(frozen=True)
class Hit:
    """What became of one expectation: `onset` is None when it was missed; `delay` = onset - due."""

    gold: str
    due: float
    onset: float | None

    @property
    def delay(self) -> float | None:
        return None if self.onset is None else self.onset - self.due


@dataclass(frozen=True)
class ItemGrade:
    """The verdict on one item. `strays` are gold or contrast words said where no window allows them."""

    hits: tuple[Hit, ...]
    strays: tuple[tuple[float, str], ...]

    @property
    def strict(self) -> bool:
        """Every expectation met, and not one answer word anywhere else."""
        return not self.strays and all(hit.onset is not None for hit in self.hits)

    @property
    def met(self) -> float:
        """Share of the expectations met (1.0 when there are none)."""
        return sum(hit.onset is not None for hit in self.hits) / len(self.hits) if self.hits else 1.0


@dataclass(frozen=True)
class _Token:
    text: str
    onset: float
    utterance: int


def _tokens(words: Sequence[Word]) -> list[_Token]:
    return [
        _Token(text, word.start, number)
        for number, group in enumerate(utterances(words))
        for word in group
        for text in normalise(word.text)
    ]


def _stands_at(phrase: Tokens, tokens: Sequence[_Token], free: Sequence[bool], i: int) -> bool:
    """Does `phrase` stand contiguous at token `i`, in one utterance, on tokens nobody has claimed?"""
    part = tokens[i : i + len(phrase)]
    return (
        len(part) == len(phrase)
        and all(free[i : i + len(phrase)])
        and part[0].utterance == part[-1].utterance
        and all(token.text == word for token, word in zip(part, phrase, strict=True))
    )


def _numbers(
    tokens: Sequence[_Token], phrases: Sequence[Sequence[Tokens]], spans: Sequence[tuple[float, float]]
) -> list[int]:
    """Which word each token belongs to: those of one number to the same, so that "twenty five" is no five.

    "Twenty" and "five" stay apart where each answers something of its own, in its window.
    """

    def due(token: _Token) -> set[int]:
        return {k for k, options in enumerate(phrases) if (token.text,) in options and inside(token.onset, spans[k])}

    belongs = [0] if tokens else []
    for a, b in pairwise(tokens):
        one, other = due(a), due(b)
        apart = bool(one and other) and len(one | other) > 1
        joined = a.utterance == b.utterance and one_number(a.text, b.text) and not apart
        belongs.append(belongs[-1] + (not joined))
    return belongs


def _whole(belongs: Sequence[int], i: int, length: int) -> bool:
    """Do `length` tokens from `i` on neither begin nor end within a number?"""
    end = i + length
    return (i == 0 or belongs[i - 1] != belongs[i]) and (end == len(belongs) or belongs[end - 1] != belongs[end])


def golds(expect: Expected) -> list[Tokens]:
    """The normalised answer, and its aliases where the expectation lists any."""
    aliases: Iterable[Sequence[str]] = getattr(expect, "aliases", ())
    return [normalise(" ".join(words)) for words in (expect.words, *aliases)]


def check_item(expects: Sequence[Expected]) -> None:
    """Raises ValueError for an item that cannot be graded: no answer, or fewer than 8 possible ones."""
    for expect in expects:
        phrases = golds(expect)
        if not all(phrases):
            raise ValueError(
                f"an expectation of kind {expect.kind!r} at {expect.due:.2f} s has no answer words."
            )
        size = len({normalise(text) for text in expect.contrast} | set(phrases))
        if expect.kind != "backchannel" and size < MIN_CONTRAST:
            raise ValueError(
                f"{' '.join(expect.words)!r} stands among {size} possible answers: "
                f"a contrast set needs {MIN_CONTRAST}."
            )


def grade_item(expects: Sequence[Expected], words: Sequence[Word]) -> ItemGrade:
    """Grade everything said in one item against everything expected in it.

    Each occurrence of a gold inside its window meets one expectation (the one whose window closes first).
    What is left over fails the item if it is a gold or contrast word, unless it repeats a gold inside a
    window of its own.

    Args:
        expects: what was expected; empty for items in which nothing may be said from no answer set.
        words: what was said, on the played clock.

    Returns:
        ItemGrade with one `Hit` per expectation, in the order given.
    """
    tokens = _tokens(words)
    free = [True] * len(tokens)
    phrases = [golds(expect) for expect in expects]
    spans = [window(expect) for expect in expects]
    belongs = _numbers(tokens, phrases, spans)
    onsets: list[float | None] = [None] * len(expects)
    for i, token in enumerate(tokens):
        fitting = [
            (-len(phrase), spans[k][1], k, len(phrase))
            for k in range(len(expects))
            if onsets[k] is None and inside(token.onset, spans[k])
            for phrase in phrases[k]
            if _stands_at(phrase, tokens, free, i) and _whole(belongs, i, len(phrase))
        ]
        if fitting:
            *_, k, length = min(fitting)
            onsets[k] = token.onset
            free[i : i + length] = [False] * length
    hits = tuple(Hit(" ".join(e.words), e.due, onset) for e, onset in zip(expects, onsets, strict=True))
    return ItemGrade(hits, tuple(_strays(expects, phrases, spans, tokens, belongs, free)))


def _strays(
    expects: Sequence[Expected],
    phrases: Sequence[Sequence[Tokens]],
    spans: Sequence[tuple[float, float]],
    tokens: Sequence[_Token],
    belongs: Sequence[int],
    free: Sequence[bool],
) -> Iterable[tuple[float, str]]:
    """Unclaimed gold or contrast words, except golds repeated inside a window of their own."""
    closed = {phrase for options in phrases for phrase in options}
    closed |= {normalise(text) for expect in expects for text in expect.contrast}
    closed.discard(())
    for i, token in enumerate(tokens):
        for phrase in closed:
            if not _stands_at(phrase, tokens, free, i):
                continue
            at_home = _whole(belongs, i, len(phrase)) and any(
                phrase in options and inside(token.onset, span)
                for options, span in zip(phrases, spans, strict=True)
            )
            if not at_home:
                yield token.onset, " ".join(phrase)


# ------------------------------------------------------------------------------------------- intervals


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval and the number of items behind it."""

    value: float
    low: float
    high: float
    n: int


def bootstrap(
    groups: Mapping[str, Sequence[float]] | Sequence[float],
    seed: int,
    resamples: int = 2000,
    statistic: str = "mean",
) -> Estimate:
    """The macro mean (or median of all values) with its 95 % percentile interval.

    Items are resampled inside their group (a family of tasks): every resample keeps each family's size.

    Args:
        groups: values per family, or one flat sequence.
        seed: of the resampling; the same seed gives the same interval.
        resamples: number of bootstrap samples.
        statistic: `mean` (mean over groups of each group's mean) or `median` (of all values together).
    """
    named = groups if isinstance(groups, Mapping) else {"": groups}
    arrays = [np.asarray(values, dtype=float) for _, values in sorted(named.items()) if len(values)]
    n = sum(len(values) for values in arrays)
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    if statistic not in ("mean", "median"):
        raise ValueError(f"unknown statistic {statistic!r}: mean or median.")
    rng = np.random.default_rng(seed)
    draws = [
        values[rng.integers(0, len(values), (resamples, len(values)))] for values in arrays
    ]  # [R, n_g] each
    if statistic == "median":
        value, samples = (
            float(np.median(np.concatenate(arrays))),
            np.median(np.concatenate(draws, axis=1), axis=1),
        )
    else:
        value = float(np.mean([values.mean() for values in arrays]))
        samples = np.mean([draw.mean(axis=1) for draw in draws], axis=0)  # [R]
    low, high = np.percentile(samples, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)
