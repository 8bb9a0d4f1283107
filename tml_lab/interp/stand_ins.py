"""Stand-ins: what is put in the place of a head or an expert that is taken out.

Zero takes its mean away, too, on which all that follows relies; the mean over a set of recordings leaves that and takes
away only what changes; a resample puts what the part gave at another position, so that what follows sees nothing it has
not seen before. Positions are compared with their like: a position's *role* is its stream and its rank in it, as "third
frame heard in a turn", "first word". A role says nothing about what was heard or said.
Source: Wang et al. 2022 (mean by position); Chan et al. 2022, "Causal scrubbing" (resample).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN
from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.interp.components import StandIns, mlp_outputs, output_names
from tml_lab.interp.names import InterpError
from tml_lab.interp.watch import Hook
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.layout import MAX_WORDS
from tml_lab.stream.recording import Recording
from tml_lab.stream.tokens import STREAMS, TokenTable

RANKS = {"text_in": 1, "video_in": 1, "audio_in": FRAMES_PER_TURN, "text_out": 1 + MAX_WORDS,
         "audio_out": OUT_TOKENS_PER_TURN}  # fmt: skip
ROLES = tuple(f"{stream} {rank}" for stream in STREAMS for rank in range(RANKS[stream]))
_FIRST = np.cumsum([0, *(RANKS[stream] for stream in STREAMS)])[:-1]
_LAST = np.array([RANKS[stream] for stream in STREAMS]) - 1


def roles(tokens: TokenTable) -> np.ndarray:
    """int64 [positions]: the index in `ROLES` of each position."""
    return _FIRST[tokens.stream] + np.minimum(tokens.rank, _LAST[tokens.stream])


@dataclass(frozen=True, eq=False)
class Means(StandIns):
    """Each part's mean for each role, over a set of recordings.

    Args:
        of_z: per layer float32 [roles, heads, d_head]. of_out: per layer float32 [roles, experts, d_model].
        counts: int64 [roles], positions seen; a role never seen has the mean over all positions.
    """

    of_z: tuple[Tensor, ...]
    of_out: tuple[Tensor, ...]
    counts: np.ndarray

    def z(self, layer: int, hook: Hook) -> Tensor:
        """See `StandIns`."""
        table = self.of_z[layer]
        return table[torch.as_tensor(roles(hook.tokens), device=table.device)]

    def out(self, layer: int, hook: Hook, before: int) -> Tensor:
        """See `StandIns`."""
        table = self.of_out[layer]
        tokens = hook.tokens if not before else hook.piece.so_far.part(slice(-len(hook.tokens) - before, None))
        return table[torch.as_tensor(roles(tokens), device=table.device)]


@torch.no_grad()
def means(model: InteractionModel, tokenizer: TextTokenizer, recordings: Sequence[Recording]) -> Means:
    """Each part's mean over all positions of some recordings. Raises InterpError without recordings."""
    if not recordings:
        raise InterpError("a mean needs at least one recording.")
    layers = range(model.cfg.n_layers)
    sums: list[Tensor] = []
    counts = torch.zeros(len(ROLES))
    for recording in recordings:
        cache = run_with_cache(model, tokenizer, recording, output_names(model.cfg))
        where = torch.as_tensor(roles(cache.tokens), device=cache.logits.device)
        counts += torch.bincount(where.cpu(), minlength=len(ROLES))
        parts = [x for n in layers for x in (cache["z", n].float(), mlp_outputs(cache, n))]
        sums = sums or [x.new_zeros(len(ROLES), *x.shape[1:]) for x in parts]
        for total, x in zip(sums, parts, strict=True):
            total.index_add_(0, where, x)
    found = []
    for total in sums:
        n = counts.to(total.device).view(-1, 1, 1)
        everywhere = total.sum(0, keepdim=True) / n.sum()
        found.append(torch.where(n > 0, total / n.clamp(min=1), everywhere))  # [roles, parts, width]
    return Means(tuple(found[::2]), tuple(found[1::2]), counts.long().numpy())


@dataclass(frozen=True, eq=False)
class Resample(StandIns):
    """What each part gave at positions of the same role in other recordings: one draw for each position, the same for
    all parts. For whole recordings offline.

    Args:
        of_z: per layer [positions, heads, d_head]; of_out: per layer [positions, experts, d_model].
    """

    of_z: tuple[Tensor, ...]
    of_out: tuple[Tensor, ...]

    def z(self, layer: int, hook: Hook) -> Tensor:
        """See `StandIns`. Raises InterpError for positions that were not drawn."""
        self._check(layer, hook)
        return self.of_z[layer]

    def out(self, layer: int, hook: Hook, before: int) -> Tensor:
        """See `StandIns`."""
        self._check(layer, hook)
        return self.of_out[layer]

    def _check(self, layer: int, hook: Hook) -> None:
        have = len(self.of_z[layer])
        if hook.piece.start or len(hook.tokens) != have:
            raise InterpError(
                f"this resample was drawn for one recording of {have} positions and cannot stand in for "
                f"{len(hook.tokens)} from {hook.piece.start} on."
            )


@torch.no_grad()
def resample(tokens: TokenTable, others: Sequence[Cache], rng: np.random.Generator) -> Resample:
    """Draw stand-ins for the positions of `tokens` from other recordings' caches (which need `output_names`).

    Raises InterpError without others. A role that they have not is drawn from all their positions.
    """
    if not others:
        raise InterpError("a resample needs at least one other recording.")
    theirs = np.concatenate([roles(cache.tokens) for cache in others])
    drawn = np.zeros(len(tokens), np.int64)
    mine = roles(tokens)
    for role in np.unique(mine):
        like = np.flatnonzero(theirs == role)
        drawn[mine == role] = rng.choice(like if len(like) else len(theirs), (mine == role).sum())
    at = torch.as_tensor(drawn)
    layers = range(others[0].model.cfg.n_layers)
    z = tuple(torch.cat([cache["z", n].float() for cache in others])[at] for n in layers)
    return Resample(z, tuple(torch.cat([mlp_outputs(cache, n) for cache in others])[at] for n in layers))
