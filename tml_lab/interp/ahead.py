"""Features that fire ahead of speech: shown again on held-out episodes, and taken out to see whether they matter.

    ahead, begun = before_first_wish(train)
    found = fires_before(timelines(sae, train, 3), ahead, begun, train.episode)
    held_out = rises(timelines(sae, test, 3), *before_first_wish(test), test.episode, [f.feature for f in found[:8]])
    wishes = silenced(test, sae, 3, [[f.feature] for f in found[:8]])

All sets are of recordings in which the model is kept silent (`kept_silent`): up to its first wish to speak these are
what a live session would have lived through, and no change inside moves a position.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tml_lab.interp.address import At
from tml_lab.interp.cache import Cache
from tml_lab.interp.edits import Patch
from tml_lab.interp.kept_silent import first_wish
from tml_lab.interp.names import InterpError
from tml_lab.interp.onward import logits_onward, resid_of
from tml_lab.interp.patching import logit_difference
from tml_lab.interp.sae import SparseAutoencoder
from tml_lab.interp.sets import TurnSet


@dataclass(frozen=True)
class Rise:
    """How much more often a feature fires ahead of the first wish than in the other silent turns.

    Args:
        feature: which.
        before, otherwise: share of the turns in which it fires.
        low, high: the 95 % interval of their difference, over whole episodes.
    """

    feature: int
    before: float
    otherwise: float
    low: float
    high: float

    def __str__(self) -> str:
        rise = f"{self.before - self.otherwise:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"
        return f"feature {self.feature}: fires in {self.before:.2f} ahead, {self.otherwise:.2f} otherwise, {rise}"


def first_wishes(turns: TurnSet, wishes: np.ndarray | None = None) -> np.ndarray:
    """The row of each episode's first wish to speak, in the order of the episodes: int64, -1 where there is none.

    Args:
        wishes: float32 [turns], `<speak>` less `<silent>`; None: the set's own.
    """
    values = turns.logit_difference if wishes is None else wishes
    found = []
    for i in np.unique(turns.episode):
        rows = np.flatnonzero(turns.episode == i)
        at = first_wish(values[rows])
        found.append(-1 if at is None else int(rows[at]))
    return np.array(found, np.int64)


def before_first_wish(turns: TurnSet, ahead: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Where to look for what fires ahead: both bool [turns], for `fires_before` and `rises`.

    Returns:
        The turn that lies `ahead` turns before each first wish; and the turns from the first wish on, which are left
        out: by then it is decided. Episodes without a wish, or with one earlier than that, mark no turn.
    """
    mark, begun = np.zeros(len(turns), bool), np.zeros(len(turns), bool)
    for row in first_wishes(turns):
        if row >= 0:
            begun |= (turns.episode == turns.episode[row]) & (turns.turn >= turns.turn[row])
            mark |= (turns.episode == turns.episode[row]) & (turns.turn == turns.turn[row] - ahead)
    return mark, begun


def rises(
    activations: np.ndarray,
    mark: np.ndarray,
    begun: np.ndarray,
    episode: np.ndarray,
    features: Sequence[int],
    turns_before: int = 2,
    draws: int = 2000,
    seed: int = 0,
) -> list[Rise]:
    """The rise of given features, with intervals: for features that were chosen on other episodes.

    Args:
        activations: float32 [turns, features]. mark, begun: see `before_first_wish`. episode: int [turns].
        turns_before: how many turns to look at, the marked one included.
        draws: of whole episodes, with replacement.

    Raises InterpError when no turn is marked, or no other silent turn is there to compare with.
    """
    fires = (activations[:, list(features)] > 0).astype(np.float64)  # [turns, chosen]
    near = np.zeros(len(mark), bool)
    for back in range(turns_before):
        same = episode[back:] == episode[: len(episode) - back]
        near[: len(mark) - back] |= mark[back:] & same
    near &= ~begun
    kinds = near, ~near & ~begun
    if not all(kind.any() for kind in kinds):
        raise InterpError("no turn lies ahead of a wish, or none elsewhere: draw more episodes.")
    _, which = np.unique(episode, return_inverse=True)
    counts = np.stack([np.bincount(which, kind) for kind in kinds])  # [2, episodes]
    sums = np.zeros((2, counts.shape[1], fires.shape[1]))  # [2, episodes, chosen]
    for total, kind in zip(sums, kinds, strict=True):
        np.add.at(total, which, fires * kind[:, None])
    rng = np.random.default_rng(seed)
    n = counts.shape[1]
    times = rng.multinomial(n, np.full(n, 1 / n), draws)  # [draws, episodes]
    shares = np.einsum("de,kec->kdc", times, sums) / np.maximum(times @ counts.T, 1).T[:, :, None]
    low, high = np.percentile(shares[0] - shares[1], [2.5, 97.5], axis=0)  # [chosen]
    before, otherwise = sums.sum(1) / counts.sum(1)[:, None]
    return [
        Rise(int(f), float(before[i]), float(otherwise[i]), float(low[i]), float(high[i]))
        for i, f in enumerate(features)
    ]


def twins(activations: np.ndarray, feature: int, n: int, leave: Collection[int] = ()) -> list[int]:
    """The `n` features most like one in how often and how strongly they fire: its rivals in a causal check.

    Decoder rows have length one, so features that fire alike also move the stream by as much, as often.

    Args:
        activations: float32 [rows, features]. leave: features that shall not be chosen.

    Raises InterpError when the feature never fires, or there are fewer than `n` others that do.
    """
    often = (activations > 0).mean(0)  # [features]
    strong = activations.sum(0) / np.maximum((activations > 0).sum(0), 1)
    there = often > 0
    there[[feature, *leave]] = False
    if not often[feature] > 0 or there.sum() < n:
        raise InterpError(f"feature {feature} has no {n} others to compare with: it never fires, or too few do.")
    off = [np.abs(np.log(np.maximum(x, 1e-9) / max(float(x[feature]), 1e-9))) for x in (often, strong)]
    return np.argsort(np.where(there, off[0] + off[1], np.inf), kind="stable")[:n].tolist()


def stream_without(sae: SparseAutoencoder, x: Tensor, features: Sequence[int]) -> Tensor:
    """`x [..., d_model]` less what these features add to it, along their decoder rows; all else stays as it is."""
    chosen = list(features)
    return x - sae.encode(x)[..., chosen] @ sae.decoder[chosen] * sae.scale


def without_features(cache: Cache, sae: SparseAutoencoder, layer: int, features: Sequence[int]) -> Patch:
    """An edit that takes features out of the residual stream after `layer`, at each position where one of them fires.

    Raises InterpError when none of them fires anywhere.
    """
    x = cache["resid_post", layer]  # [positions, d_model]
    rows = (sae.encode(x)[:, list(features)] > 0).any(-1).nonzero()[:, 0]
    if not len(rows):
        raise InterpError(f"features {list(features)} fire nowhere in this recording: there is nothing to take out.")
    values = tuple(tuple(row) for row in stream_without(sae, x[rows], features).tolist())
    at = At(hook="resid_post", layer=layer)
    return Patch(at=at, pos=tuple(rows.tolist()), values=values)


@torch.no_grad()
def silenced(turns: TurnSet, sae: SparseAutoencoder, layer: int, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """`<speak>` less `<silent>` of each turn with each group of features taken out at all positions.

    Returns float32 [groups, turns]. What was said and heard stays as it was recorded.
    """
    wishes = np.empty((len(groups), len(turns)), np.float32)
    for i in np.unique(turns.episode):
        cache = resid_of(turns.model, turns.tokenizer, turns.recordings[i], layer)
        x = cache["resid_post", layer]
        rows = torch.stack([stream_without(sae, x, group) for group in groups])  # [groups, positions, d_model]
        mine = turns.episode == i
        after = logit_difference(logits_onward(cache, layer, rows), cache)  # [groups, turns]
        wishes[:, mine] = after.cpu().numpy()[:, turns.turn[mine]]
    return wishes
