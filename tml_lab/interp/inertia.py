"""State inertia: how long the model's inside looks like speaking after the user has broken in.

A readout is fitted on plain turns: the model speaks and nobody else does, or the user speaks and the model does not. At
an interruption it is followed turn by turn. Full-duplex models were found to stay in the generative state for a while
and to miss the first words (arXiv 2606.11386); this asks the same of one model's residual stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tml_lab.interp.labels import SPEAKERS
from tml_lab.interp.linear import Readout, fit
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet


@dataclass(frozen=True, eq=False)
class Inertia:
    """Interruptions, aligned at the turn in which the user's voice comes in.

    Args:
        lags: turns from that turn.
        reading: float32 [interruptions, lags], 1 as in the middle of speaking, 0 as in the middle of listening; NaN
            outside the recording.
        sounding: float32 [interruptions, lags], 1 where the own voice is heard, NaN likewise.
        steady: float32 [stretches, lags], the reading while the model speaks on, nobody breaking in; the control.
        turned: float32 [interruptions], turns until the reading is nearer to listening; NaN: never in sight.
        fell_silent: float32 [interruptions], turns until the own voice stops; NaN likewise.
        accuracy: of the readout on plain turns of episodes that it was not fitted on.
    """

    lags: tuple[int, ...]
    reading: np.ndarray
    sounding: np.ndarray
    steady: np.ndarray
    turned: np.ndarray
    fell_silent: np.ndarray
    accuracy: float


def interruptions(turns: TurnSet) -> np.ndarray:
    """The turns in which the user begins to fill half a turn while the model's voice is heard: bool [turns]."""
    user = turns.label("speaker") == SPEAKERS.index("user")
    before = np.concatenate([[True], user[:-1] & (turns.episode[1:] == turns.episode[:-1])])
    follows = np.concatenate([[False], turns.turn[1:] == turns.turn[:-1] + 1])
    return user & ~before & follows & turns.label("model_speaks")


def state_inertia(turns: TurnSet, layer: int, before: int = 3, after: int = 8, seed: int = 0) -> Inertia:
    """Follow the speaking-or-listening readout of `layer` through the interruptions of held-out episodes.

    Args:
        before, after: turns to look at on either side.
        seed: of the split into episodes to fit on and episodes to look at.

    Raises InterpError when there is no interruption in the held-out episodes, or no plain turn of either kind.
    """
    speaker, sounds = turns.label("speaker"), turns.label("model_speaks")
    plain = (speaker == SPEAKERS.index("model")) | ((speaker == SPEAKERS.index("user")) & ~sounds)
    train, test = turns.split(seed=seed)
    fitted = train.where(plain[np.isin(turns.episode, train.episode)])
    y = fitted.labels["model_speaks"].astype(np.float32)
    if y.min() == y.max():
        raise InterpError("plain turns of speaking and of listening are needed to tell them apart: draw more episodes.")
    readout = fit(fitted.at_layer(layer), y, fitted.episode, numeric=True)
    reading = _between(readout, fitted, layer, y, test)
    broken_in = np.flatnonzero(interruptions(test))
    if not len(broken_in):
        raise InterpError("nobody breaks in in the held-out episodes: draw more of a family with interruptions.")
    lags = np.arange(-before, after + 1)
    held = plain[np.isin(turns.episode, test.episode)]
    right = (reading[held] > 0.5) == test.labels["model_speaks"][held]
    followed = aligned(reading, test, broken_in, lags)
    sounding = aligned(test.labels["model_speaks"].astype(np.float32), test, broken_in, lags)
    return Inertia(
        tuple(lags.tolist()), followed, sounding, _steady(reading, test, lags),
        _first(followed[:, before:] < 0.5), _first(sounding[:, before:] == 0), float(right.mean()),
    )  # fmt: skip


def _between(readout: Readout, fitted: TurnSet, layer: int, y: np.ndarray, test: TurnSet) -> np.ndarray:
    """The reading of each test turn, with the fitted kinds' medians at 0 and 1: float32 [turns]."""
    seen = readout.predict(fitted.at_layer(layer))
    low, high = np.median(seen[y == 0]), np.median(seen[y == 1])
    return ((readout.predict(test.at_layer(layer)) - low) / (high - low)).astype(np.float32)


def aligned(values: np.ndarray, turns: TurnSet, at: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """`values [turns]` around each of the turns `at`: float32 [at, lags], NaN outside the episode."""
    where = at[:, None] + lags
    inside = (where >= 0) & (where < len(values))
    where = where.clip(0, len(values) - 1)
    inside &= turns.episode[where] == turns.episode[at][:, None]
    inside &= turns.turn[where] == turns.turn[at][:, None] + lags  # turns may have been left out
    return np.where(inside, values[where], np.nan).astype(np.float32)


def _steady(reading: np.ndarray, turns: TurnSet, lags: np.ndarray) -> np.ndarray:
    """The reading over stretches in which the model speaks all the time and the user does not."""
    alone = (turns.labels["speaker"] == SPEAKERS.index("model")).astype(np.float32)
    around = aligned(alone, turns, np.arange(len(reading)), lags)
    return aligned(reading, turns, np.flatnonzero((around == 1).all(1)), lags)


def _first(holds: np.ndarray) -> np.ndarray:
    """The first column in which each row holds: float32 [rows], NaN where it never does."""
    return np.where(holds.any(1), holds.argmax(1), np.nan).astype(np.float32)
