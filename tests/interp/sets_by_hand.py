"""Episodes of noise for the pico model, and sets of turns with something planted in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.sets import TurnSet
from tml_lab.worlds.stage import Episode, Expect, Segment

TURNS = 14


def noise_episode(seed: int, family: str = "pause", turns: int = TURNS) -> Episode:
    """Loud noise as the user's words from 0.6 to 1.4 s, something due at its end, quiet noise around it."""
    rng = np.random.default_rng(seed)
    audio = 1e-4 * rng.standard_normal(turns * TURN_SAMPLES)
    audio[9600:22400] += 0.2 * rng.standard_normal(12800)
    return Episode(
        family, audio.astype(np.float32), [(4, "remind me")], [], {},
        [Expect(("one",), 1.4, None, (), "answer")], [Segment(0.6, 1.4, "words", "user")], seed, "test",
    )  # fmt: skip


def planted(turns: TurnSet, values: np.ndarray, direction: np.ndarray, layer: int, noise: float = 0.1) -> TurnSet:
    """The set with its residual stream at `layer` replaced by noise and `values [turns]` along a direction."""
    rng = np.random.default_rng(0)
    x = noise * rng.standard_normal((len(turns), len(direction))) + values[:, None] * direction
    return replace(turns, resid={**turns.resid, layer: x.astype(np.float32)})
