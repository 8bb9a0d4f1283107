"""A Cache: everything one forward pass over a recording computed, under TransformerLens' names.

    cache = run_with_cache(model, tokenizer, recording)
    cache["blocks.3.attn.hook_pattern"]    [heads, query, key]      also cache["pattern", 3]
    cache["blocks.3.hook_resid_post"]      [positions, d_model]     also cache["resid_post", 3]

A recording is one sequence, so there is no batch axis (TransformerLens: `remove_batch_dim`). `cache.tokens`
says for each position which stream and turn it belongs to and when it was heard or played.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import ModelConfig
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.tap import Edit, Tap
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.checkpoint_hash import weights_hash
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import decision_positions, offline_tokens
from tml_lab.stream.tokens import STREAMS, TokenTable

LAYER_HOOKS = {  # short name -> name inside `blocks.N.`
    "resid_pre": "hook_resid_pre",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "z": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "experts": "mlp.hook_expert_indices",
    "expert_weights": "mlp.hook_expert_weights",
    "shared_weights": "mlp.hook_shared_weights",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
ROUTED = ("expert", "shared")  # what a layer with a dense MLP has not
EMBED, FINAL = "hook_embed", "ln_final.hook_normalized"
MAX_BYTES = 4 << 30  # of attention patterns; they grow with the square of the recording's length


class InterpError(ValueError):
    """A tensor, head or turn that is not there; the message is one sentence that says why."""


def full_name(short: str, layer: int) -> str:
    """`("z", 3)` -> `blocks.3.attn.hook_z`."""
    return f"blocks.{layer}.{LAYER_HOOKS[short]}"


def hook_names(cfg: ModelConfig) -> list[str]:
    """Every name a cache of this model can hold, in the order of the computation.

    A layer with a dense MLP has no experts, hence no names for them.
    """
    names = [EMBED]
    for layer in range(cfg.n_layers):
        for short in LAYER_HOOKS:
            if not short.startswith(ROUTED) or layer >= cfg.n_dense_layers:
                names.append(full_name(short, layer))
    return [*names, FINAL]


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
    """

    recording: Recording
    model: InteractionModel
    tokenizer: TextTokenizer
    logits: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Cache({len(self.tensors)} tensors of {len(self.tokens)} positions, {self.turns} turns)"

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, key: str | tuple[str, int]) -> Tensor:
        """`cache["blocks.3.hook_resid_post"]` or `cache["resid_post", 3]`.

        Raises InterpError for a layer the model has not, a name there is not, or one that was not kept.
        """
        name = key if isinstance(key, str) else self._full_name(*key)
        if name in self.tensors:
            return self.tensors[name]
        if name in hook_names(self.model.cfg):
            raise InterpError(f"{name} was not kept: run run_with_cache again with it among the names.")
        raise InterpError(f"nothing is called {name!r}; hook_names(model.cfg) lists every name there is.")

    def _full_name(self, short: str, layer: int) -> str:
        check_layer(self.model.cfg, layer)
        if short not in LAYER_HOOKS:
            raise InterpError(f"a layer has nothing called {short!r}; it has {', '.join(LAYER_HOOKS)}.")
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


def check_layer(cfg: ModelConfig, layer: int) -> None:
    """Raises InterpError naming the layers there are."""
    if not 0 <= layer < cfg.n_layers:
        raise InterpError(f"there is no layer {layer}: the model has layers 0..{cfg.n_layers - 1}.")


def _check_names(cfg: ModelConfig, names: Collection[str], positions: int) -> None:
    if unknown := sorted(set(names) - set(hook_names(cfg))):
        raise InterpError(
            f"nothing is called {unknown[0]!r}; hook_names(model.cfg) lists every name there is."
        )
    kept = [layer for layer in range(cfg.n_layers) if full_name("pattern", layer) in names]
    size = sum(cfg.heads(layer)[0] for layer in kept) * positions**2 * 4
    if size > MAX_BYTES:
        raise InterpError(
            f"the patterns of {len(kept)} layers over {positions} positions take {size / 2**30:.0f} GiB: "
            "name fewer of them in names=, or cut the recording."
        )


@torch.no_grad()
def run_with_cache(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    names: Collection[str] | None = None,
) -> Cache:
    """One offline pass over all positions of a recording, keeping what it computed on the way.

    What the session said is fed as it was said, so every position sees what it saw live; streaming agrees
    with this pass to rounding (1e-5 on p(speak)).

    Args:
        names: hook names to keep (`hook_names` lists them); None: all.

    Raises InterpError for a recording without turns, an unknown name, or patterns too large to keep;
    RecordingError for a fork not yet replayed. Warns when the weights are not the recording's own.
    """
    return run_offline(model, tokenizer, recording, names)


def run_offline(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    recording: Recording,
    names: Collection[str] | None,
    edit: Callable[[str, Tensor], Tensor] | None = None,
) -> Cache:
    """As `run_with_cache`; `edit(full name, tensor without a batch axis)` gives what is used in its place."""
    names = hook_names(model.cfg) if names is None else names
    _check_names(model.cfg, names, len(recording.tokens))
    if recording.turns == 0:
        raise InterpError("this recording has no turns, so there is nothing to run.")
    if (made_by := recording.checkpoint.get("sha256")) and made_by != weights_hash(model):
        warnings.warn(
            f"this recording was made with weights {made_by}, other than this model's: its decisions are "
            "not the ones this cache computes.",
            stacklevel=2,
        )
    tokens = offline_tokens(recording, next(model.parameters()).device)
    taps: dict[int, Tap] = {}
    for layer in range(model.cfg.n_layers):
        keep = [short for short in LAYER_HOOKS if full_name(short, layer) in names]
        if keep or edit is not None:
            taps[layer] = Tap(_in_layer(layer, edit), keep)  # the patterns of a long recording must not pile up
    was_training = model.training
    model.eval()  # in training some tensors would be kept in half precision
    try:
        x = model.embed(tokens)  # [positions, d_model]
        x = x if edit is None else edit(EMBED, x)
        hidden = model(x[None], taps=taps)[0]  # [positions, d_model]
        hidden = hidden if edit is None else edit(FINAL, hidden)
    finally:
        model.train(was_training)
    found = {EMBED: x, FINAL: hidden}
    for layer, tap in taps.items():
        for short in LAYER_HOOKS:
            if short in tap:
                # the experts' tensors come without a batch axis already
                tensor = tap[short] if short.startswith(ROUTED) else tap[short][0]
                found[full_name(short, layer)] = tensor
    kept = {name: found[name] for name in hook_names(model.cfg) if name in names}
    return Cache(recording, model, tokenizer, model.text_logits(hidden).float(), kept)


def _in_layer(layer: int, edit: Callable[[str, Tensor], Tensor] | None) -> Edit | None:
    """The edit of one layer's tap, which knows short names and a batch axis."""
    if edit is None:
        return None

    def inside(short: str, x: Tensor) -> Tensor:
        name = full_name(short, layer)
        return edit(name, x) if short.startswith(ROUTED) else edit(name, x[0])[None]

    return inside


def attention_by_stream(cache: Cache, layer: int, head: int, turn: int) -> dict[str, np.ndarray]:
    """Where one head looked from a turn's decision, pooled over the positions of each stream and turn.

    Returns {stream: float32 [turn + 1]}, column n the weight on turn n; all of it sums to 1. The same numbers
    as `TurnResult.attention` of a session that watched this head.

    Raises InterpError for a layer, head or turn that is not there.
    """
    pattern = cache["pattern", layer]  # [heads, query, key]
    if not 0 <= head < len(pattern):
        raise InterpError(f"there is no head {head} in layer {layer}: it has heads 0..{len(pattern) - 1}.")
    if not 0 <= turn < cache.turns:
        raise InterpError(f"there is no turn {turn}: the recording has turns 0..{cache.turns - 1}.")
    query = int(cache.decision_positions[turn])
    weight = pattern[head, query, : query + 1].double().cpu().numpy()  # [key]; later keys are never seen
    table, turns = cache.tokens, turn + 1
    cell = table.stream[: query + 1].astype(np.int64) * turns + table.turn[: query + 1]
    pooled = np.bincount(cell, weight, len(STREAMS) * turns).reshape(len(STREAMS), turns)
    return dict(zip(STREAMS, pooled.astype(np.float32), strict=True))
