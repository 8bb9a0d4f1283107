"""Steering vectors: a manner of the model as a direction, how much of it helps, and what it breaks.

    talkative = mean_difference(turns, 4, turns.labels["onset"], silent, name="talkativeness")
    curve = dose_response(turns, talkative, target=owed, elsewhere=~owed & silent)

The vector is the mean of the residual stream over turns of one kind less its mean over turns of another. It is added at
every position of held-out recordings, or at the decisions alone. A curve always comes with the same curve for random
directions of the same length, and with what happens in the turns where nothing should. The trivial rival of all of
them is `decision_bias`: a constant added to the logit difference.
Source: Turner et al. 2023 (activation addition), Marks and Tegmark 2023 (difference of means).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tml_lab.interp.address import At
from tml_lab.interp.causal import random_directions
from tml_lab.interp.decision import decision_direction
from tml_lab.interp.edits import Steer
from tml_lab.interp.names import InterpError
from tml_lab.interp.onward import decide_onward, resid_of
from tml_lab.interp.sets import TurnSet
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer

DOSES = (-1.0, -0.5, 0.0, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction in the residual stream after `layer`: float32 [d_model], its length the two kinds' distance.

    `counts`: how many turns of either kind it was made from.
    """

    name: str
    layer: int
    values: np.ndarray
    counts: tuple[int, int]

    def edit(self, strength: float, everywhere: bool = True) -> Steer:
        """The same as an edit, for a session, a replay or an offline run."""
        at = At(hook="resid_post", layer=self.layer, of="all" if everywhere else "decision")
        return Steer(at=at, vector=tuple(self.values.tolist()), strength=strength)


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """What a vector does at several strengths, as shares of turns in which the model wishes to speak.

    Args:
        strengths: multiples of the vector.
        target: float32 [strengths], in the turns that it is meant for.
        elsewhere: float32 [strengths], in the turns where the model should say nothing: false starts.
        random_target, random_elsewhere: float32 [random, strengths], the same for random directions of that length.
        turns: how many turns of either kind were looked at.
    """

    name: str
    strengths: tuple[float, ...]
    target: np.ndarray
    elsewhere: np.ndarray
    random_target: np.ndarray
    random_elsewhere: np.ndarray
    turns: tuple[int, int]

    @property
    def gain(self) -> float:
        """How much the target rises from the smallest to the largest strength."""
        return float(self.target[-1] - self.target[0])

    @property
    def random_gain(self) -> float:
        """The largest rise that a random direction gives, either way."""
        return float(np.abs(self.random_target[:, -1] - self.random_target[:, 0]).max())

    @property
    def broken(self) -> float:
        """How many false starts the largest strength adds to those without steering."""
        return float(self.elsewhere[-1] - self.elsewhere[int(np.argmin(np.abs(self.strengths)))])


def mean_difference(turns: TurnSet, layer: int, one: np.ndarray, other: np.ndarray, name: str = "") -> SteeringVector:
    """From the mean of the `other` turns to the mean of the `one` (both bool [turns]).

    Raises InterpError when either kind has no turn.
    """
    x, counts = turns.at_layer(layer), (int(np.sum(one)), int(np.sum(other)))
    if not all(counts):
        raise InterpError(f"the vector {name!r} needs turns of both kinds: there are {counts[0]} and {counts[1]}.")
    return SteeringVector(name, layer, (x[one].mean(0) - x[other].mean(0)).astype(np.float32), counts)


def dose_response(
    turns: TurnSet,
    vector: SteeringVector,
    target: np.ndarray,
    elsewhere: np.ndarray,
    strengths: tuple[float, ...] = DOSES,
    n_random: int = 3,
    recordings: int | None = None,
    everywhere: bool = True,
    shaped: bool = False,
    seed: int = 0,
) -> DoseResponse:
    """Add the vector to the residual stream of these turns' recordings, at each strength.

    Args:
        turns: held out from what the vector was made of.
        target, elsewhere: bool [turns], where it is meant to act and where nothing should be said.
        recordings: how many recordings to run; None: all.
        everywhere: at all positions; otherwise only where decisions are made.
        shaped: random directions with the stream's own covariance, a harder rival (in the last layer most of what
            varies is the decision itself); otherwise even ones.

    Raises InterpError when either kind has no turn in them.
    """
    kept = np.unique(turns.episode)[:recordings]
    run = np.isin(turns.episode, kept)
    counts = int((target & run).sum()), int((elsewhere & run).sum())
    if not all(counts):
        raise InterpError(f"a curve needs turns of both kinds: there are {counts[0]} and {counts[1]} of them.")
    length = float(np.linalg.norm(vector.values))
    others = random_directions(turns.at_layer(vector.layer), length, n_random, seed, shaped)
    directions = np.stack([vector.values, *others])  # [1 + random, d_model]
    pushes = [s * d for d in directions for s in strengths]
    wishes = steered(turns.where(run), vector.layer, pushes, everywhere)  # [pushes, turns run]
    speaks = (wishes > 0).reshape(len(directions), len(strengths), -1)
    on, off = speaks[:, :, target[run]].mean(-1), speaks[:, :, elsewhere[run]].mean(-1)
    on, off = on.astype(np.float32), off.astype(np.float32)
    return DoseResponse(vector.name, strengths, on[0], off[0], on[1:], off[1:], counts)


def steered(turns: TurnSet, layer: int, pushes: Sequence[np.ndarray], everywhere: bool = True) -> np.ndarray:
    """`<speak>` less `<silent>` of each turn, with each push added to the residual stream after `layer`.

    Args:
        pushes: float32 [d_model] each.
        everywhere: at all positions; otherwise only where decisions are made.

    Returns float32 [pushes, turns]. What was said and heard stays as it was recorded.
    """
    wishes = np.empty((len(pushes), len(turns)), np.float32)
    changes = [torch.from_numpy(np.asarray(push, np.float32)) for push in pushes]
    for i in np.unique(turns.episode):
        cache = resid_of(turns.model, turns.tokenizer, turns.recordings[i], layer)
        mine = turns.episode == i
        wishes[:, mine] = decide_onward(cache, layer, changes, everywhere).cpu().numpy()[:, turns.turn[mine]]
    return wishes


def decision_bias(model: InteractionModel, tokenizer: TextTokenizer, logits: float) -> Steer:
    """An edit that adds a constant to `<speak>` less `<silent>` and nothing else: a threshold moved, no more.

    It moves the normalised hidden state that decides along the difference of the two rows of the unembedding.
    """
    direction = decision_direction(model, tokenizer)  # [d_model]
    vector = direction / direction.square().sum()  # moves the difference by one
    return Steer(at=At(hook="final", of="decision"), vector=tuple(vector.tolist()), strength=logits)
