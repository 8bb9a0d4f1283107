"""What a probe must beat: the same fit from features that need no model, or none of its layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tml_lab.config import FRAMES_PER_TURN, N_BINS, PATCH
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet
from tml_lab.signal.dmel import dmel

Features = Callable[[TurnSet], np.ndarray]
"""Turns -> `[turns, features]`."""


def embedding(turns: TurnSet) -> np.ndarray:
    """What went into the first layer, averaged over the turn's input: `[turns, d_model]`."""
    return turns.embed


def turn_number(turns: TurnSet) -> np.ndarray:
    """Powers of the turn's number, and its last digit, which the clock embedding tells: `[turns, 13]`."""
    powers = np.stack([(turns.turn / 50.0) ** k for k in (1, 2, 3)], 1)
    return np.concatenate([powers, turns.turn[:, None] % 10 == np.arange(10)], 1).astype(np.float32)


def loudness(turns: TurnSet, history: int = 5) -> np.ndarray:
    """How loud each of the last frames was, 0..1: float32 `[turns, history * 4]`, the newest last, 0 before the start.

    What a detector of voice energy has to go by, in the model's own frames of 50 ms.
    """
    out = np.zeros((len(turns), history * FRAMES_PER_TURN), np.float32)
    for i in np.unique(turns.episode):
        bins = dmel(np.array(turns.recordings[i].inputs.audio)).numpy()  # uint8 [turns * 4, 80]
        level = np.concatenate([np.zeros(out.shape[1]), bins.mean(1) / (N_BINS - 1)])
        mine = np.flatnonzero(turns.episode == i)
        end = (turns.turn[mine] + 1) * FRAMES_PER_TURN
        out[mine] = level[end[:, None] + np.arange(out.shape[1])]
    return out


def picture_change(turns: TurnSet) -> np.ndarray:
    """How much each patch of the picture changed since the frame before, for a turn's two frames: float32
    `[turns, 2 * patches]`; no camera may be off in between.

    What a detector of movement has to go by. Raises InterpError for recordings without a camera.
    """
    parts = []
    for i in np.unique(turns.episode):
        frames = turns.recordings[i].inputs.frames
        if frames is None:
            raise InterpError(f"recording {i} has no pictures: nothing can be told of how they change.")
        film = np.concatenate([np.asarray(pair, np.float32).mean(-1) for pair in frames])  # [frames, height, width]
        change = np.abs(np.diff(film, axis=0, prepend=film[:1]))
        n, height, width = change.shape
        tiles = change.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH).mean((2, 4))  # [frames, rows, columns]
        parts.append(tiles.reshape(len(frames), -1)[turns.turn[turns.episode == i]])
    return np.concatenate(parts).astype(np.float32)
