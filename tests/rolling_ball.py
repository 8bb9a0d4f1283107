"""A film for tests of the eyes: a red ball that rolls one way after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tml_lab.config import VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.film import pictures
from tml_lab.worlds.seen.scene import Scene

WAYS = {"left": (-38, 0), "up": (0, -32), "right": (38, 0), "down": (0, 32)}  # pixels
EVERY = 2.0  # seconds from one move to the next


def rolling(ways: Sequence[str], first: float = 3.0, turns: int = 60) -> np.ndarray:
    """The ball goes these ways, from the second `first` on: uint8 `[turns, 2, 120, 160, 3]`."""
    scene = Scene(np.random.default_rng(7))
    ball = scene.thing("ball", "red", Span(0, 99), 80, 62, size=11)
    for n, way in enumerate(ways):
        scene.move(ball, first + EVERY * n, 0.6, *WAYS[way])
    film = pictures(scene.script(VIDEO_FRAMES_PER_TURN * turns), VIDEO_SIZE).numpy()
    return film.reshape(turns, VIDEO_FRAMES_PER_TURN, *film.shape[1:])
