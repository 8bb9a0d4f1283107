"""Attribution patching: all patches of all heads and experts, turn by turn, from two forwards and one backward.

Patching one part in one turn from the clean recording into the corrupt one costs a forward each. To first order it is
`(clean - corrupt) . gradient`, and one backward pass from the corrupt decision gives all gradients at once. Where the
model is far from linear between the two it is wrong: `patch_parts` is the exact sweep to hold it against.
Source: Nanda 2023, "Attribution Patching"; Syed et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from rich.progress import track
from torch import Tensor

from tml_lab.interp.cache import EMBED, Cache, at_once, full_name
from tml_lab.interp.components import Parts, block_of, mlp_outputs, through
from tml_lab.interp.names import InterpError
from tml_lab.interp.patching import check_pair, logit_difference
from tml_lab.interp.watch import Hook, HookFunction, Watch


def attribute_patches(clean: Cache, corrupt: Cache, turn: int) -> xr.DataArray:
    """The first-order estimate of every patch, as a share of the decision at `turn`: `[part, patched turn]`.

    0: nothing comes back; 1: all of the difference between the two runs, as in a `Sweep`. Both caches need `z`,
    `resid_mid` and what the router chose; the corrupt one its embeddings, too. Raises InterpError when the recordings
    cannot be compared, decide alike, or the model is deterministic.
    """
    clean_end, corrupt_end = check_pair(clean, corrupt, turn)
    model, at = corrupt.model, int(corrupt.decision_positions[turn])
    if model.deterministic:
        raise InterpError("the exact kernels have no gradient inside: set model.deterministic = False for it.")
    layers = range(model.cfg.n_layers)
    rows = slice(at + 1)  # nothing later is seen by the decision
    added = [torch.zeros_like(corrupt[EMBED][rows]).requires_grad_() for _ in layers]  # to each MLP's output
    z: dict[int, Tensor] = {}
    hooks = [hook for layer in layers for hook in _listen(corrupt, layer, z, added[layer])]
    with torch.enable_grad():
        watch = Watch(model.cfg, [(EMBED, lambda x, hook: x.requires_grad_()), *hooks])
        hidden = at_once(model, corrupt[EMBED][rows], watch, corrupt.tokens.part(rows))
        value = logit_difference(model.text_logits(hidden[-1]), corrupt)
        gradients = torch.autograd.grad(value, [*(z[layer] for layer in layers), *added])
    found = []
    for layer in layers:
        of_z, of_out = gradients[layer], gradients[len(layers) + layer]
        other = (clean["z", layer] - corrupt["z", layer])[rows]  # [positions, heads, d_head]
        found.append((other * of_z).sum(-1))
        other = (mlp_outputs(clean, layer) - mlp_outputs(corrupt, layer))[rows]  # [positions, experts, d_model]
        found.append(torch.einsum("ped,pd->pe", other, of_out))
    by_position = torch.cat(found, 1).double().cpu().numpy()  # [positions, parts]
    values = np.zeros((by_position.shape[1], turn + 1))
    np.add.at(values.T, corrupt.tokens.turn[rows], by_position)
    return _labelled(values / (clean_end - corrupt_end), Parts(model.cfg), range(turn + 1), turn)


def _listen(cache: Cache, layer: int, z: dict[int, Tensor], added: Tensor) -> list[tuple[str, HookFunction]]:
    """Hooks that keep `z` with its gradient, and add a zero to the MLP's output, before its ShortConv."""

    def keep(x: Tensor, hook: Hook) -> Tensor:
        z[layer] = x
        return x

    def add(out: Tensor, hook: Hook) -> Tensor:
        return out + through(block_of(cache.model, layer).mlp_conv, added)

    return [(full_name("z", layer), keep), (full_name("mlp_out", layer), add)]


@torch.no_grad()
def patch_parts(
    clean: Cache, corrupt: Cache, turn: int, parts: Sequence[str] | None = None,
    turns: Sequence[int] | None = None, progress: bool = True,
) -> xr.DataArray:  # fmt: skip
    """The exact sweep: each head and expert, in each turn, one by one: `[part, patched turn]`.

    Args:
        parts: all by default; turns: those up to `turn` by default.

    The caches need what `attribute_patches` needs, and `resid_pre`. Raises as it does, and InterpError for a part that
    is not there.
    """
    ends = check_pair(clean, corrupt, turn)
    model, at = corrupt.model, int(corrupt.decision_positions[turn])
    every = Parts(model.cfg)
    labels = list(every.labels if parts is None else parts)
    when = list(range(turn + 1) if turns is None else turns)
    tokens, values = corrupt.tokens.part(slice(at + 1)), np.zeros((len(labels), len(when)))
    turn_of = torch.as_tensor(tokens.turn.astype(np.int64), device=corrupt.logits.device)
    other: dict[int, Tensor] = {}  # of a layer's experts: large, so made when its turn comes
    for row, label in enumerate(track(labels, "patching", disable=not progress)):
        layer, index = every.layer_of(label), every.index(label)
        heads, mlp = every.spans(layer)
        if index >= mlp.start and layer not in other:
            other = {layer: (mlp_outputs(clean, layer) - mlp_outputs(corrupt, layer))[: at + 1]}
        for column, patched in enumerate(when):
            here = turn_of == patched  # [positions]
            if index < mlp.start:
                hook = _put_head(clean, layer, index - heads.start, here)
            else:
                hook = _put_expert(corrupt, layer, other[layer][:, index - mlp.start] * here[:, None])
            hidden = at_once(
                model, corrupt["resid_pre", layer][: at + 1], Watch(model.cfg, [hook]), tokens, layer
            ) if layer else at_once(model, corrupt[EMBED][: at + 1], Watch(model.cfg, [hook]), tokens)  # fmt: skip
            value = float(logit_difference(model.text_logits(hidden[-1]), corrupt))
            values[row, column] = (value - ends[1]) / (ends[0] - ends[1])
    return _labelled(values, every, when, turn, labels)


def _put_head(clean: Cache, layer: int, head: int, here: Tensor) -> tuple[str, HookFunction]:
    def put(z: Tensor, hook: Hook) -> Tensor:
        z[here, head] = clean["z", layer][: len(here)][here, head]
        return z

    return full_name("z", layer), put


def _put_expert(corrupt: Cache, layer: int, change: Tensor) -> tuple[str, HookFunction]:
    moved = through(block_of(corrupt.model, layer).mlp_conv, change)  # [positions, d_model]
    return full_name("mlp_out", layer), lambda out, hook: out + moved


def _labelled(
    values: np.ndarray, parts: Parts, turns: Sequence[int], turn: int, labels: Sequence[str] | None = None
) -> xr.DataArray:
    labels = list(parts.labels if labels is None else labels)
    coords = {"part": labels, "patched": list(turns), "layer": ("part", [parts.layer_of(p) for p in labels])}
    return xr.DataArray(values.astype(np.float32), coords, ("part", "patched"), "restored", {"turn": turn})
