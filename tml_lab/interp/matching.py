"""Comparing like with like: episodes moved in time, and turns paired so that one thing alone tells them apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode

HUSH = TURN_SAMPLES // 2  # samples of an episode's beginning, before anybody speaks, that tell how quiet it is


def delayed(episode: Episode, turns: int, seed: int = 0) -> Episode:
    """The same episode, `turns` turns later; first comes noise as loud as its own beginning.

    What is asked early in every episode can be told from the turn's number; after random delays it cannot.
    Raises InterpError for an episode with a camera.
    """
    if episode.scene is not None:
        raise InterpError("an episode with a camera cannot be delayed: what it sees would have to be drawn anew.")
    seconds = turns * TURN_SECONDS
    level = float(np.abs(episode.audio[:HUSH]).std()) + 1e-5
    quiet = level * np.random.default_rng(seed).standard_normal(turns * TURN_SAMPLES)
    return replace(
        episode,
        audio=np.concatenate([quiet.astype(np.float32), episode.audio]),
        typed=[(turn + turns, text) for turn, text in episode.typed],
        script=[replace(say, turn=say.turn + turns) for say in episode.script],
        speaking={turn + turns: what for turn, what in episode.speaking.items()},
        expects=[replace(expect, due=expect.due + seconds) for expect in episode.expects],
        segments=[replace(s, start=s.start + seconds, end=s.end + seconds) for s in episode.segments],
        requests=[(turn + turns, text) for turn, text in episode.requests],
        results=[(turn + turns, text) for turn, text in episode.results],
    )


def matched(turns: TurnSet, one: np.ndarray, other: np.ndarray, on: str, within: float, seed: int = 0) -> np.ndarray:
    """Pairs of one turn of either kind that are alike in a label: bool [turns], as many of the one as of the other.

    Args:
        one, other: bool [turns], the two kinds.
        on: a label that must not tell them apart; turns where it is NaN are left out.
        within: how far apart it may lie in a pair.
        seed: of the order in which partners are sought.

    Raises InterpError when there is no pair.
    """
    values = turns.label(on)
    free = np.flatnonzero(other & np.isfinite(values)).tolist()
    kept: list[int] = []
    for i in np.random.default_rng(seed).permutation(np.flatnonzero(one & np.isfinite(values))):
        apart = np.abs(values[free] - values[i])
        if len(free) and apart.min() <= within:
            kept += [int(i), free.pop(int(apart.argmin()))]
    if not kept:
        raise InterpError(f"no two turns of the two kinds are alike in {on!r} within {within:g}.")
    mask = np.zeros(len(turns), bool)
    mask[kept] = True
    return mask
