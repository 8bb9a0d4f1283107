"""A Cache: everything one forward pass over a recording computed, under TransformerLens' names.

    cache = run_with_cache(model, tokenizer, recording)
    cache["blocks.3.attn.hook_pattern"]    [heads, query, key]      also cache["pattern", 3]
    cache["blocks.3.hook_resid_post"]      [positions, d_model]     also cache["resid_post", 3]
    cache.at("L3H2 pattern of decision @4.2s <- video_in")           labelled; see `tml_lab.interp.address`

A recording is one sequence, so there is no batch axis (TransformerLens: `remove_batch_dim`). `cache.tokens`
says for each position which stream and turn it belongs to and when it was heard or played. Patterns grow with the
square of the length: they are not kept but computed anew from q and k when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tml_lab.config import ModelConfig
from tml_lab.interp.address import At
from tml_lab.interp.labelled import labelled
from tml_lab.interp.names import (
    EMBED,
    FINAL,
    LAYER_HOOKS,
    InterpError,
    Names,
    check_layer,
    check_name,
    check_short,
    choose,
    full_name,
    hook_names,
    layer_of,
    split_name,
)
from tml_lab.interp.pattern import MAX_BYTES, pattern_rows
from tml_lab.interp.watch import Hooks, Watch, resolve
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import MAX_CHUNK, new_state
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.checkpoint_hash import warn_of_other_weights
from tml_lab.stream.observer import Piece
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import decision_positions, offline_tokens
from tml_lab.stream.tokens import TokenTable

__all__ = [
    "EMBED", "FINAL", "LAYER_HOOKS", "Cache", "InterpError", "full_name", "hook_names", "run_offline", "run_with_cache",
]  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Cache:
    """The inner tensors of one offline pass over a recording.

    Args:
        recording: what was run; its first `len(tokens)` positions are the tensors' positions.
        model, tokenizer: what ran it; the lenses use its final norm and unembedding.
        logits: float32 [positions, vocab], the text logits at every position.
        tensors: {hook name: tensor}. Residual streams and outputs float32 [positions, d_model]; patterns
            float32 [heads, query, key]; q and z [positions, heads, d_head], k and v [positions, kv_heads, d_head];
            expert indices int64 and weights float32 [positions, top_k], shared weights [positions, n_shared].
        edited: names at which a hook stood.
    """

    recording: Recording
    model: InteractionModel
    tokenizer: TextTokenizer
    logits: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)
    edited: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Cache({len(self.tensors)} tensors of {len(self.tokens)} positions, {self.turns} turns)"

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, key: str | tuple[str, int]) -> Tensor:
        """`cache["blocks.3.hook_resid_post"]` or `cache["resid_post", 3]`.

        Raises InterpError for a layer the model has not, a name there is not, one that was not kept, or a pattern too
        large to compute as a whole.
        """
        name = key if isinstance(key, str) else self._full_name(*_pair(key))
        if name in self.tensors:
            return self.tensors[name]
        check_name(name, hook_names(self.model.cfg))
        if layer_of(name) is not None and split_name(name)[1] == "pattern":
            return self.pattern(split_name(name)[0])
        raise InterpError(f"{name} was not kept: run run_with_cache again with it among the names.")

    def pattern(self, layer: int, queries: np.ndarray | None = None) -> Tensor:
        """Attention from some positions: float32 [heads, queries, positions]; None: from all.

        Raises InterpError for a layer or a position that is not there, without `q`, `k` and `resid_pre` of the layer,
        and for more than 4 GiB.
        """
        name = self._full_name("pattern", layer)
        if queries is not None and len(queries) and not 0 <= min(queries) <= max(queries) < len(self.tokens):
            raise InterpError(f"queries must be positions of this recording, 0..{len(self.tokens) - 1}.")
        if name in self.tensors:
            kept = self.tensors[name]
            return kept if queries is None else kept[:, torch.as_tensor(queries, device=kept.device)]
        needs = [self._full_name(short, layer) for short in ("resid_pre", "q", "k")]
        if name in self.edited or any(part not in self.tensors for part in needs):
            raise InterpError(f"{name} was not kept: run run_with_cache again with it, or with {', '.join(needs)}.")
        resid_pre, q, k = (self.tensors[part] for part in needs)
        return pattern_rows(self.model, layer, resid_pre, q, k, queries)

    def at(self, where: str | At | None = None, /, **parts: Any) -> xr.DataArray:
        """A labelled part of the cache.

        Args:
            where: an `At`, its string form, or the short name of a hook.
            parts: the fields of an `At`: `layer`, `head`, `t` or `turn`, `clock`, `of`, `src`, `src_t` or `src_turn`.

        `cache.at("pattern", layer=3, head=2, t=4.2, src="video_in", src_t=slice(2, 4))`: `[query, key]`. Raises
        InterpError, in one sentence, for what is not there.
        """
        return labelled(self, At.read(where, **parts))

    def _full_name(self, short: str, layer: int) -> str:
        check_layer(self.model.cfg, layer)
        check_short(short)
        return full_name(short, layer)

    @property
    def tokens(self) -> TokenTable:
        """One row for each position."""
        return self.recording.tokens

    @property
    def turns(self) -> int:
        """Turns in the recording."""
        return self.recording.turns

    @property
    def decision_positions(self) -> np.ndarray:
        """int64 [turns]: the position whose hidden state decides each turn, its last heard frame."""
        return decision_positions(self.recording)


def _pair(key: object) -> tuple[str, int]:
    """A short name and a layer. Raises InterpError for another key."""
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], str) and isinstance(key[1], int | np.integer):
        return key[0], int(key[1])
    raise InterpError(
        f"a cache has nothing at {key!r}: write cache['resid_post', 3], cache['blocks.3.hook_resid_post'], or "
        "cache.at('z', layer=3, head=2)."
    )


def _names(cfg: ModelConfig, names: Names | None, positions: int, edited: Collection[str]) -> set[str]:
    """The names to keep. Raises InterpError for unknown ones, or patterns too large."""
    every = hook_names(cfg)
    patterns = {full_name("pattern", layer) for layer in range(cfg.n_layers)}
    kept = set(every) - (patterns - set(edited)) if names is None else set(choose(names, every))
    layers = [layer for layer in range(cfg.n_layers) if full_name("pattern", layer) in kept]
    size = sum(cfg.heads(layer)[0] for layer in layers) * positions**2 * 4
    if size > MAX_BYTES:
        raise InterpError(
            f"the patterns of {len(layers)} layers over {positions} positions take {size / 2**30:.0f} GiB: "
            "name fewer of them in names=, or cut the recording."
        )
    return kept


@torch.no_grad()
def run_with_cache(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    names: Names | None = None,
) -> Cache:
    """One offline pass over all positions of a recording, keeping what it computed on the way.

    What the session said is fed as it was said, so every position sees what it saw live; streaming agrees
    with this pass to rounding (1e-5 on p(speak)).

    Args:
        names: which to keep (`hook_names` lists them): a name, several, or a filter such as
            `lambda name: name.endswith("resid_post")`; None: all but the patterns, which are computed from q and k
            when asked for.

    Raises InterpError for a recording without turns, an unknown name, or patterns too large to keep;
    RecordingError for a fork not yet replayed. Warns when the weights are not the recording's own.
    """
    return run_offline(model, tokenizer, recording, names)


def run_offline(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    names: Names | None,
    hooks: Hooks = (),
    needs: Collection[str] = (),
) -> Cache:
    """As `run_with_cache`, with hooks on the way (see `tml_lab.interp.watch`)."""
    edited = frozenset(resolve(hooks, hook_names(model.cfg)))
    kept = _names(model.cfg, names, len(recording.tokens), edited)
    if recording.turns == 0:
        raise InterpError("this recording has no turns, so there is nothing to run.")
    warn_of_other_weights(recording.checkpoint, model, "its decisions are not the ones this cache computes.")
    watch = Watch(model.cfg, hooks, kept, needs)
    was_training = model.training
    model.eval()  # in training some tensors would be kept in half precision
    try:
        x = model.embed(offline_tokens(recording, next(model.parameters()).device))  # [positions, d_model]
        hidden = (_exactly if model.deterministic else at_once)(model, x, watch, recording.tokens)
    finally:
        model.train(was_training)
    tensors = watch.tensors()
    ordered = {name: tensors[name] for name in hook_names(model.cfg) if name in tensors}
    return Cache(recording, model, tokenizer, model.text_logits(hidden).float(), ordered, edited)


def at_once(
    model: InteractionModel, x: Tensor, watch: Watch, tokens: TokenTable, layer: int = 0
) -> Tensor:
    """One forward without state: embeddings `[positions, d_model]`, or a later layer's input -> hidden states."""
    whole = Piece.whole(tokens)
    if layer == 0:
        x = watch.embedded(x, whole)
        return watch.finished(model(x[None], taps=watch.taps(whole))[0], whole)
    taps, pos, x = watch.taps(whole), torch.arange(len(x), device=x.device)[None], x[None]  # [1, positions, d_model]
    for n in range(layer, model.cfg.n_layers):
        x = model.backbone.blocks[n](x, None, pos, taps.get(n))
    return watch.finished(model.backbone.norm(x)[0], whole)


def _exactly(model: InteractionModel, x: Tensor, watch: Watch, tokens: TokenTable) -> Tensor:
    """As `at_once`, by the kernels of a session, in pieces: the bits do not depend on where they are cut."""
    state, found = new_state(model.cfg, device=x.device, dtype=x.dtype), []
    for start in range(0, len(x), MAX_CHUNK):
        rows = slice(start, min(start + MAX_CHUNK, len(x)))
        piece = Piece(start, tokens.part(rows), lambda end=rows.stop: tokens.part(slice(end)))
        part = watch.embedded(x[rows], piece)
        found.append(watch.finished(model(part[None], state, watch.taps(piece))[0], piece))
    return torch.cat(found)
