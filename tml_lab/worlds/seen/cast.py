"""Who and what is in a scene, frame by frame, in words that can be said of it; training asks the eyes for it.

A cast is `[frames, members, 6]` float16: x and y of a member's end in pixels of 160 x 120 (low and to the right:
patches are read in rows, and in the one there all of it has been seen), its colour (a place in the lexicon's `COLOURS`;
-1: of no concern), what it is or does (a place in `KINDS`; -1: it is not there), how many repetitions it has done, and
how far it is into one (0 at rest .. 1 in the far pose).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tml_lab.worlds.lexicon import COLOURS, DAYS, NUMBERS, THINGS
from tml_lab.worlds.seen.actions import ACTIONS
from tml_lab.worlds.seen.things import Thing

STANDS = "stands"  # somebody who does nothing that is counted
WRITTEN = (*NUMBERS, *COLOURS, *DAYS)  # in letters, or a number in figures
KINDS = (*THINGS, *ACTIONS, STANDS, *WRITTEN)
PEOPLE = range(len(THINGS), len(THINGS) + len(ACTIONS) + 1)  # the kinds that are somebody
CORNER = 0.7  # radii from a thing's middle to its end, both ways
COLUMNS = 6
HAPPENINGS = ("comes", "goes", "takes another colour", "left", "right", "up", "down", "has done one")
MOVES = 4.0  # pixels within a turn


def cast_of_thing(thing: Thing, n_frames: int) -> np.ndarray:
    """`[n_frames, 6]`."""
    cast = np.full((n_frames, COLUMNS), -1.0)
    n = min(n_frames, len(thing.x))
    kind = np.where(thing.opacity > 0.5, KINDS.index(thing.kind), -1)
    end = CORNER * thing.size
    columns = (thing.x + end, thing.y + end, thing.colour, kind, np.zeros(len(kind)), np.zeros(len(kind)))
    cast[:n] = np.stack(columns, -1)[:n]
    cast[n:, :2] = thing.x[-1] + end, thing.y[-1] + end  # where it was when it went
    return cast


def cast_of_writing(word: str, there: slice, x: float, y: float, n_frames: int) -> np.ndarray:
    """A word of the lexicon that stands there in those frames and ends at `x, y`: `[n_frames, 6]`."""
    cast = np.tile(np.array([x, y, -1.0, -1.0, 0.0, 0.0]), (n_frames, 1))
    cast[there, 3] = KINDS.index(word)
    return cast


def joined(members: Sequence[np.ndarray], n_frames: int) -> np.ndarray:
    """All members: `[n_frames, members, 6]` float16."""
    nobody = np.zeros((n_frames, 0, COLUMNS))
    return np.concatenate([nobody, *(member[:, None] for member in members)], 1).astype(np.float16)


def happenings(cast: np.ndarray) -> np.ndarray:
    """What happened to each member since the step before: bool `[steps, members, 8]`, in the order of `HAPPENINGS`.

    `cast [steps, members, 6]`: of frames that are a turn apart, say. Nothing has happened before the first one.
    """
    now = cast.astype(np.float64)
    before = np.concatenate([now[:1], now[:-1]])
    there, was = now[..., 3] >= 0, before[..., 3] >= 0
    stays = there & was
    dx, dy = now[..., 0] - before[..., 0], now[..., 1] - before[..., 1]
    ways = (dx < -MOVES, dx > MOVES, dy < -MOVES, dy > MOVES)
    changes = (there & ~was, was & ~there, stays & (now[..., 2] != before[..., 2]))
    return np.stack([*changes, *(stays & way for way in ways), stays & (now[..., 4] > before[..., 4])], -1)
