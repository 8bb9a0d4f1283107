"""Who and what is in a scene, frame by frame, in words that can be said of it; training asks the eyes for it.

A cast is `[frames, members, 5]` float16: x and y of a member's middle in pixels of 160 x 120, its colour (a place in
the lexicon's `COLOURS`; -1: of no concern), what it is or does (a place in `KINDS`; -1: it is not there), and how many
repetitions it has done.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tml_lab.worlds.lexicon import THINGS
from tml_lab.worlds.seen.actions import ACTIONS
from tml_lab.worlds.seen.things import Thing

STANDS = "stands"  # somebody who does nothing that is counted
KINDS = (*THINGS, *ACTIONS, STANDS)
COLUMNS = 5
HAPPENINGS = ("comes", "goes", "takes another colour", "left", "right", "up", "down", "has done one")
MOVES = 4.0  # pixels within a turn


def cast_of_thing(thing: Thing, n_frames: int) -> np.ndarray:
    """`[n_frames, 5]`."""
    cast = np.full((n_frames, COLUMNS), -1.0)
    n = min(n_frames, len(thing.x))
    kind = np.where(thing.opacity > 0.5, KINDS.index(thing.kind), -1)
    columns = (thing.x, thing.y, thing.colour, kind, np.zeros(len(kind)))
    cast[:n] = np.stack(columns, -1)[:n]
    cast[n:, :2] = thing.x[-1], thing.y[-1]  # where it was when it went
    return cast


def joined(members: Sequence[np.ndarray], n_frames: int) -> np.ndarray:
    """All members: `[n_frames, members, 5]` float16."""
    nobody = np.zeros((n_frames, 0, COLUMNS))
    return np.concatenate([nobody, *(member[:, None] for member in members)], 1).astype(np.float16)


def happenings(cast: np.ndarray) -> np.ndarray:
    """What happened to each member since the step before: bool `[steps, members, 8]`, in the order of `HAPPENINGS`.

    `cast [steps, members, 5]`: of frames that are a turn apart, say. Nothing has happened before the first one.
    """
    now = cast.astype(np.float64)
    before = np.concatenate([now[:1], now[:-1]])
    there, was = now[..., 3] >= 0, before[..., 3] >= 0
    stays = there & was
    dx, dy = now[..., 0] - before[..., 0], now[..., 1] - before[..., 1]
    ways = (dx < -MOVES, dx > MOVES, dy < -MOVES, dy > MOVES)
    changes = (there & ~was, was & ~there, stays & (now[..., 2] != before[..., 2]))
    return np.stack([*changes, *(stays & way for way in ways), stays & (now[..., 4] > before[..., 4])], -1)
