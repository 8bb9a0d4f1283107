"""Variants of what was heard, seen and read: the questions "what if" that one can ask of a recording by the dozen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tml_lab.config import PATCH, TURN_SAMPLES
from tml_lab.interp.cache import Cache
from tml_lab.interp.hearing import words_heard
from tml_lab.interp.names import InterpError, check_turn
from tml_lab.stream.clock import heard_start, turn_hearing
from tml_lab.stream.recording import Inputs

PARTS = ("audio", "typed", "frames")
LONGEST_WORD = 5  # turns
SURE_AFTER = 2  # turns: of the listening head, after a word's end
GREY = 128


@dataclass(frozen=True, eq=False)
class Variant:
    """Other inputs, the same before the turn `first`."""

    label: str
    first: int
    inputs: Inputs


def quietest(inputs: Inputs) -> np.ndarray:
    """The turn with the least sound, float32 [3200]: what silence is like in this room. A gap tells nothing of it."""
    turns = np.array(inputs.audio).reshape(-1, TURN_SAMPLES)
    power = np.square(turns).mean(1)  # [turns]
    power[list(inputs.gaps)] += 1.0
    return turns[power.argmin()]


def blank(inputs: Inputs, turns: Iterable[int], parts: Collection[str] = PARTS) -> Inputs:
    """Nothing heard, read or seen in these turns: the room's own silence, no typed words, grey pictures.

    Gaps stay gaps: nothing was heard in them.

    Args:
        parts: some of `audio`, `typed`, `frames`; what is left out stays.

    Raises InterpError for a turn that is not there or another part.
    """
    parts = [parts] if isinstance(parts, str) else parts
    if unknown := set(parts) - set(PARTS):
        raise InterpError(f"inputs have no {sorted(unknown)[0]!r}; blank some of {', '.join(PARTS)}.")
    gone = set(turns)
    for turn in gone:
        check_turn(inputs.turns, turn)
    audio, typed, frames = np.array(inputs.audio), inputs.typed, inputs.frames
    if "audio" in parts:
        quiet = quietest(inputs)
        for turn in gone.difference(inputs.gaps):
            audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES] = quiet
    if "typed" in parts:
        typed = tuple((turn, text) for turn, text in typed if turn not in gone)
    if "frames" in parts and frames is not None:
        seen = enumerate([frames[n] for n in range(inputs.turns)])
        frames = [pair if pair is None or n not in gone else np.full_like(pair, GREY) for n, pair in seen]
    return replace(inputs, audio=audio, typed=typed, frames=frames)


Word = tuple[str, float, float]
"""A word and the seconds at which it begins and ends, on the heard clock."""


def heard_spans(cache: Cache) -> list[Word]:
    """About where the words lie that the listening head heard, for a recording whose words nobody timed.

    The head is sure of a word two or three turns after its end: so long a word reaches back, and not into the one
    before.
    """
    found: list[Word] = []
    free = 0
    for turn, words in enumerate(words_heard(cache)):
        if words:
            end = max(turn - SURE_AFTER, free) + 1
            found.append((" ".join(words), heard_start(max(free, end - LONGEST_WORD)), heard_start(end)))
            free = end
    return found


def without_each_word(inputs: Inputs, words: Sequence[Word]) -> list[Variant]:
    """Each word silenced alone, in all turns that hear any of it. Raises InterpError for one outside the recording, or
    that ends before it begins."""
    found = []
    for word, start, end in words:
        if not 0 <= start < end:
            raise InterpError(f"{word!r} cannot lie from {start} to {end} s: it must end after it begins, from 0 on.")
        span = range(turn_hearing(start), turn_hearing(math.nextafter(end, 0)) + 1)
        found.append(Variant(f"without {word!r}", span.start, blank(inputs, span, ["audio"])))
    return found


def without_each_typed(inputs: Inputs) -> list[Variant]:
    """Each typed message, left out alone."""
    return [
        Variant(f"without typed {text!r}", turn, replace(inputs, typed=inputs.typed[:n] + inputs.typed[n + 1 :]))
        for n, (turn, text) in enumerate(inputs.typed)
    ]


def without_each_span(inputs: Inputs, turns: int = 2, parts: Collection[str] = PARTS) -> list[Variant]:
    """Each stretch of so many turns, blanked alone: where does it matter? Raises InterpError for no turn at all."""
    if turns < 1:
        raise InterpError(f"a stretch has one turn at least, not {turns}.")
    starts = range(0, inputs.turns, turns)
    spans = [range(first, min(first + turns, inputs.turns)) for first in starts]
    return [Variant(f"without turns {s.start}..{s.stop - 1}", s.start, blank(inputs, s, parts)) for s in spans]


def shifted(inputs: Inputs, first: int, end: int, shifts: Sequence[int]) -> list[Variant]:
    """What was heard in the turns `[first, end)`, by so many turns later (or earlier, below 0).

    Raises InterpError for a shift out of the recording, and a stretch that ends before it begins.
    """
    if first >= end:
        raise InterpError(f"turns {first} to {end} are no stretch: it must end after it begins.")
    sound = np.array(inputs.audio).reshape(-1, TURN_SAMPLES)
    found = []
    for shift in shifts:
        for turn in (first, end - 1, first + shift, end - 1 + shift):
            check_turn(inputs.turns, turn)
        moved = np.array(blank(inputs, range(first, end), ["audio"]).audio).reshape(-1, TURN_SAMPLES)
        moved[first + shift : end + shift] = sound[first:end]
        by = f"{abs(shift)} turn{'' if abs(shift) == 1 else 's'} {'later' if shift >= 0 else 'earlier'}"
        label = f"turns {first}..{end - 1} {by}"
        found.append(Variant(label, min(first, first + shift), replace(inputs, audio=moved.reshape(-1))))
    return found


def without_each_patch(inputs: Inputs, first: int, end: int) -> list[Variant]:
    """Each 40 x 40 patch of the pictures in the turns `[first, end)`, greyed alone.

    Raises InterpError when there are no pictures.
    """
    pictures = [] if inputs.frames is None else [inputs.frames[n] for n in range(inputs.turns)]
    shown = [n for n in range(first, min(end, len(pictures))) if pictures[n] is not None]
    if not shown:
        raise InterpError(f"no camera ran in turns {first}..{end - 1}: there is no patch to blank.")
    height, width = np.asarray(pictures[shown[0]]).shape[1:3]
    found = []
    for row in range(0, height, PATCH):
        for column in range(0, width, PATCH):
            seen = list(pictures)
            for n in shown:
                pair = np.array(pictures[n])  # [2, height, width, 3]
                pair[:, row : row + PATCH, column : column + PATCH] = GREY
                seen[n] = pair
            label = f"without patch row {row // PATCH + 1}, column {column // PATCH + 1}"
            found.append(Variant(label, shown[0], replace(inputs, frames=seen)))
    return found
