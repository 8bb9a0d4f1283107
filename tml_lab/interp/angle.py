"""Is what can be read what is used? The angle between a readout and what moves the decisions.

    readout = fit(train.at_layer(3), seconds, train.episode, numeric=True)
    print(angle(readout.weight[:, 0], used_direction(train, 3)))

A linear probe may read a quantity without fault from directions that the model does not use: for calendar time in
language models the two were found to be about as far apart as directions drawn at random (Fadnavis and Wyss 2026,
arXiv 2605.29126). They search for the used directions by training; here it is the mean gradient of the wish to speak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from tml_lab.interp.names import InterpError
from tml_lab.interp.onward import gradient_onward, resid_of
from tml_lab.interp.sets import TurnSet


@dataclass(frozen=True)
class Angle:
    """Between two lines: 0 degrees the same one, 90 nothing in common.

    Args:
        degrees: of the two. by_chance: 95 of 100 lines drawn evenly are at least as far from a given one.
    """

    degrees: float
    by_chance: float

    def __str__(self) -> str:
        return f"{self.degrees:.0f} degrees (by chance at least {self.by_chance:.0f})"


def angle(one: np.ndarray, other: np.ndarray) -> Angle:
    """The angle between the lines along `one [d]` and `other [d]`. Raises InterpError when either is zero.

    The squared cosine of a line drawn evenly (by the Haar measure) and a given one has the law Beta(1/2, (d - 1)/2).
    """
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if not all(lengths):
        raise InterpError("a direction of length zero has no angle to another.")
    cosine = min(1.0, abs(float(one @ other)) / (lengths[0] * lengths[1]))
    chance = np.sqrt(beta.ppf(0.95, 0.5, (len(one) - 1) / 2))
    return Angle(float(np.degrees(np.arccos(cosine))), float(np.degrees(np.arccos(chance))))


def used_direction(turns: TurnSet, layer: int, where: np.ndarray | None = None) -> np.ndarray:
    """The direction in which a push at decisions moves the wishes to speak most, to first order: float32 [d_model].

    Args:
        where: bool [turns], which decisions to average over; None: all of the set.
    """
    chosen = np.ones(len(turns), bool) if where is None else np.asarray(where, bool)
    found = []
    for i in np.unique(turns.episode[chosen]):
        cache = resid_of(turns.model, turns.tokenizer, turns.recordings[i], layer)
        mine = turns.turn[chosen & (turns.episode == i)]
        found.append(gradient_onward(cache, layer)[mine].cpu().numpy())
    if not found:
        raise InterpError("no decision is chosen: draw more episodes, or ask for less.")
    return np.concatenate(found).mean(0)
