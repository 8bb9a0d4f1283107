"""Does the model use a direction that a probe can read? Push along it, take it away, and watch the decisions.

A direction that moves nothing when it is pushed is known to the probe and not to the model. Beside it go random
directions of the same length, drawn with the residual stream's own covariance: those lie where the stream lives, so
they are a harder rival than a direction drawn evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tml_lab.interp.onward import decide_onward, resid_of
from tml_lab.interp.sets import TurnSet

STRENGTHS = (-2.0, 2.0)  # standard deviations of what the probe reads


@dataclass(frozen=True, eq=False)
class CausalCheck:
    """What the decisions did, averaged over `turns` turns of held-out recordings.

    Args:
        strengths: of the push, in standard deviations of the probe's reading.
        shift: float32 [strengths], mean change of the logit difference (`<speak>` less `<silent>`).
        changed: float32 [strengths], share of the decisions that turned over.
        random_shift, random_changed: float32 [random, strengths], the same for random directions.
        erased: mean absolute change of the logit difference when every turn is given the average reading.
        random_erased: float32 [random], the same movement along random directions.
        turns: how many turns were looked at.
    """

    strengths: tuple[float, ...]
    shift: np.ndarray
    changed: np.ndarray
    random_shift: np.ndarray
    random_changed: np.ndarray
    erased: float
    random_erased: np.ndarray
    turns: int

    @property
    def slope(self) -> float:
        """Logits per standard deviation pushed."""
        return _slope(self.strengths, self.shift)

    @property
    def random_slopes(self) -> np.ndarray:
        """The slope of each random direction: float32 [random]."""
        return np.array([_slope(self.strengths, row) for row in self.random_shift], np.float32)

    @property
    def times_random(self) -> float:
        """The slope's size over the root mean square of the random ones."""
        return abs(self.slope) / float(np.sqrt(np.square(self.random_slopes).mean()) + 1e-9)


def _slope(strengths: tuple[float, ...], shift: np.ndarray) -> float:
    x = np.array(strengths)
    return float((x * shift).sum() / np.square(x).sum())


def random_directions(x: np.ndarray, length: float, n: int, seed: int, shaped: bool = True) -> np.ndarray:
    """`n` directions of one length, with the covariance of `x [rows, d]` or (not `shaped`) evenly: float32 [n, d]."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((n, x.shape[1]))
    if shaped:  # a random mixture of rows has their covariance
        drawn = rng.standard_normal((n, len(x))) @ (x - x.mean(0))
    return (length * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def pattern_of(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """How `x [rows, d]` moves as its reading `x @ weight` rises by one: float32 [d], and `pattern @ weight` is 1.

    The weights say how to read, not what changes: they also cancel what is in the way.
    Source: Haufe et al. 2014, "On the interpretation of weight vectors of linear models".
    """
    reading = (x - x.mean(0)) @ weight  # [rows]
    pattern = (x - x.mean(0)).T @ reading / len(x)
    return (pattern / max(float(np.square(reading).mean()), 1e-12)).astype(np.float32)


def check_cause(
    turns: TurnSet,
    layer: int,
    weight: np.ndarray,
    seen: np.ndarray,
    strengths: tuple[float, ...] = STRENGTHS,
    n_random: int = 3,
    recordings: int = 4,
    seed: int = 0,
) -> CausalCheck:
    """Push the residual stream after `layer` along a readout's direction, at every decision of held-out recordings.

    Args:
        turns: held-out turns whose decisions are looked at; the other turns of their recordings are pushed as well.
        weight: float32 [d_model], what reads.
        seen: float32 [rows, d_model], the turns it was fitted on; they give direction, spread and average.
        recordings: how many of the held-out ones to run.

    Taking the reading away moves each turn along the direction to the average reading, so that nothing linear is left
    of it (Belrose et al. 2023, LEACE, in one dimension).
    """
    reading = seen @ weight
    pattern = pattern_of(seen, weight)
    others = random_directions(seen, float(np.linalg.norm(pattern)), n_random, seed)
    directions = torch.from_numpy(np.stack([pattern, *others]))  # [1 + random, d_model]
    pushed, plain, erased = [], [], []
    for i in np.unique(turns.episode)[:recordings]:
        cache = resid_of(turns.model, turns.tokenizer, turns.recordings[i], layer)
        at = turns.turn[turns.episode == i]
        resid = cache["resid_post", layer][torch.as_tensor(cache.decision_positions)]  # [turns, d_model]
        excess = resid @ torch.from_numpy(weight) - float(reading.mean())  # [turns]
        pushes = [float(reading.std()) * s * d for d in directions for s in strengths]
        away = [-excess[:, None] * d for d in directions]
        moved = decide_onward(cache, layer, [torch.zeros(resid.shape[1]), *pushes, *away]).numpy()[:, at]
        plain.append(moved[0])
        pushed.append(moved[1 : 1 + len(pushes)].reshape(len(directions), len(strengths), -1))
        erased.append(moved[1 + len(pushes) :])
    before = np.concatenate(plain)  # [turns]
    after = np.concatenate(pushed, -1)  # [1 + random, strengths, turns]
    without = np.abs(np.concatenate(erased, -1) - before).mean(-1)  # [1 + random]
    shift = (after - before).mean(-1)
    changed = ((after > 0) != (before > 0)).mean(-1)
    return CausalCheck(
        strengths, shift[0], changed[0], shift[1:], changed[1:], float(without[0]), without[1:], len(before)
    )  # fmt: skip
