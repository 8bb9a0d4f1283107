"""How good an autoencoder is, and what its features say: scores, timelines, and what fires before the model speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tml_lab.interp.onward import logits_onward, resid_of
from tml_lab.interp.sae import SparseAutoencoder
from tml_lab.interp.sets import TurnSet
from tml_lab.model.text import DECISIONS


class Reconstructs(Protocol):
    """An autoencoder or its rival."""

    def reconstruct(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class SaeReport:
    """On held-out recordings, all positions.

    Args:
        explained: share of the variance that the reconstruction explains; pca_explained: the rival's.
        l0: mean number of features that fire at a position. dead: share of features that fire at none.
        recovered: how much of the decisions survives when the stream is replaced by its reconstruction everywhere: 1
            all of it, 0 as little as when it is replaced by its mean. By the Kullback-Leibler divergence of the
            decision.
        pca_recovered: the rival's.
    """

    explained: float
    pca_explained: float
    l0: float
    dead: float
    recovered: float
    pca_recovered: float


def residual_rows(turns: TurnSet, layer: int, recordings: Sequence[int] | None = None) -> Tensor:
    """The residual stream after `layer` at every position of the set's recordings: float32 `[positions, d_model]`."""
    chosen = np.unique(turns.episode) if recordings is None else recordings
    parts = [resid_of(turns.model, turns.tokenizer, turns.recordings[i], layer)["resid_post", layer] for i in chosen]
    return torch.cat(parts)


@torch.no_grad()
def judge(sae: SparseAutoencoder, rival: Reconstructs, turns: TurnSet, layer: int) -> SaeReport:
    """Score an autoencoder on the recordings of held-out turns, beside a rival of the same size."""
    fires = torch.zeros(sae.cfg.features, dtype=torch.bool)
    rows, spread, count = 0, 0.0, 0.0
    left, lost = np.zeros(2), np.zeros(3)
    for i in np.unique(turns.episode):
        cache = resid_of(turns.model, turns.tokenizer, turns.recordings[i], layer)
        x = cache["resid_post", layer]  # [positions, d_model]
        acts = sae.encode(x)
        ways = torch.stack([sae.decode(acts), rival.reconstruct(x), sae.mean.expand_as(x)])
        fires |= (acts > 0).any(0)
        count += float((acts > 0).sum())
        rows += len(x)
        spread += float((x - sae.mean).square().sum())
        left += (ways[:2] - x).square().sum((1, 2)).numpy()
        logits = logits_onward(cache, layer, torch.cat([x[None], ways]))  # [4, turns, vocab]
        lost += _divergence(logits, [cache.tokenizer.id(name) for name in DECISIONS])
    explained, recovered = 1 - left / spread, 1 - lost[:2] / max(lost[2], 1e-12)
    dead = 1 - float(fires.float().mean())
    return SaeReport(
        float(explained[0]), float(explained[1]), count / rows, dead, float(recovered[0]), float(recovered[1])
    )  # fmt: skip


def _divergence(logits: Tensor, decisions: list[int]) -> np.ndarray:
    """`[1 + ways, turns, vocab]` -> for each way, the summed divergence of its decisions from the first's: [ways]."""
    log_p = logits[..., decisions].log_softmax(-1)
    return (log_p[0].exp() * (log_p[0] - log_p[1:])).sum((1, 2)).numpy()


@torch.no_grad()
def timelines(sae: SparseAutoencoder, turns: TurnSet, layer: int) -> np.ndarray:
    """Each feature's activation at each turn's decision: float32 [turns, features]."""
    return sae.encode(torch.from_numpy(turns.at_layer(layer))).numpy()


@dataclass(frozen=True)
class Firing:
    """A feature that fires more in some turns than in others.

    Args:
        feature: which.
        before, otherwise: share of the turns in which it fires.
        p: share of the shuffles in which *any* feature rises as much (so it holds for the whole list).
    """

    feature: int
    before: float
    otherwise: float
    p: float


def fires_before(
    activations: np.ndarray,
    onset: np.ndarray,
    speaking: np.ndarray,
    episode: np.ndarray,
    turns_before: int = 2,
    shuffles: int = 200,
    seed: int = 0,
) -> list[Firing]:
    """Which features fire in the last turns before the model's voice begins, the largest rise first.

    A decision at the end of turn n is heard from turn n + 1 on, so the 400 ms before the voice begins are turn n and
    the one before. Compared are silent turns only.

    Args:
        activations: float32 [turns, features]. onset, speaking: bool [turns], a voice begins with this turn's decision;
            the own voice sounds in the turn. episode: int [turns].
        turns_before: how many turns to look at, that of the decision included.
        shuffles: in each, the onsets of every episode are moved around it together, by one random distance: what
            rises then rises by chance and by the turns' likeness to their neighbours.
    """
    fires = (activations > 0).astype(np.float32)  # [turns, features]
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(episode == e) for e in np.unique(episode)]
    rise, before, otherwise = _rise(fires, onset, speaking, rows, turns_before)
    best = np.empty(shuffles)
    for n in range(shuffles):
        moved = np.zeros_like(onset)
        for mine in rows:
            quiet = mine[~speaking[mine]]  # an onset lies in a turn without the own voice, moved or not
            moved[quiet] = np.roll(onset[quiet], rng.integers(len(quiet))) if len(quiet) else False
        best[n] = _rise(fires, moved, speaking, rows, turns_before)[0].max()
    order = np.argsort(-rise, kind="stable")
    return [
        Firing(int(i), float(before[i]), float(otherwise[i]), float(((best >= rise[i]).sum() + 1) / (shuffles + 1)))
        for i in order
    ]


def _rise(
    fires: np.ndarray, onset: np.ndarray, speaking: np.ndarray, rows: list[np.ndarray], turns_before: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much more often each feature fires before an onset: the difference, and both shares, [features]."""
    near = np.zeros(len(onset), bool)
    for mine in rows:
        for at in np.flatnonzero(onset[mine]):
            near[mine[max(0, at - turns_before + 1) : at + 1]] = True
    near &= ~speaking
    far = ~near & ~speaking
    if not near.any() or not far.any():
        none = np.zeros(fires.shape[1], np.float32)
        return none, none, none
    before, otherwise = fires[near].mean(0), fires[far].mean(0)
    return before - otherwise, before, otherwise
