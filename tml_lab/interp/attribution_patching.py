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
from tml_lab.interp.components import Parts, block_of, mlp_outputs, mlp_outputs_at, through
from tml_lab.interp.names import InterpError
from tml_lab.interp.patching import check_pair, logit_difference
from tml_lab.interp.resume import after_heads, finish, rows_at_once
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

    The caches need what `attribute_patches` needs, `resid_post`, and what `tml_lab.interp.resume.finish` reads. Raises
    as it does, and InterpError for a part that is not there.
    """
    ends = check_pair(clean, corrupt, turn)
    every, at = Parts(corrupt.model.cfg), int(corrupt.decision_positions[turn])
    labels = list(every.labels if parts is None else parts)
    when = list(range(turn + 1) if turns is None else turns)
    of_layer: dict[int, list[str]] = {}
    for label in labels:
        of_layer.setdefault(every.layer_of(label), []).append(label)
    turn_of, found = corrupt.tokens.turn[: at + 1], dict[tuple[str, int], float]()
    jobs = [(layer, patched) for layer in sorted(of_layer) for patched in when]
    for layer, patched in track(jobs, "patching", disable=not progress):
        start = int(np.searchsorted(turn_of, patched))
        rows = slice(start, at + 1)
        here = torch.as_tensor(turn_of[rows] == patched, device=corrupt.logits.device)
        x = _patched(clean, corrupt, layer, [every.index(label) for label in of_layer[layer]], rows, here)
        some = rows_at_once(corrupt, start, at + 1)
        logits = torch.cat([finish(corrupt, layer, part, start) for part in x.split(some)])  # [parts, vocab]
        for label, value in zip(of_layer[layer], logit_difference(logits, corrupt).tolist(), strict=True):
            found[label, patched] = value
    grid = np.array([[found[label, n] for n in when] for label in labels])
    return _labelled((grid - ends[1]) / (ends[0] - ends[1]), every, when, turn, labels)


def _patched(clean: Cache, corrupt: Cache, layer: int, parts: list[int], rows: slice, here: Tensor) -> Tensor:
    """The residual stream after a layer, with each of its `parts` patched in the positions `here`: [parts, positions,
    d_model]."""
    heads, mlp = Parts(corrupt.model.cfg).spans(layer)
    block, found = block_of(corrupt.model, layer), []
    z = (clean["z", layer] - corrupt["z", layer])[rows] * here[:, None, None]  # [positions, heads, d_head]
    weight = block.attn.o_proj.weight.view(-1, *z.shape[1:])  # [d_model, heads, d_head]
    experts = [n for n in parts if n >= mlp.start]
    if experts:
        out = mlp_outputs_at(clean, layer, rows) - mlp_outputs_at(corrupt, layer, rows)  # [positions, experts, d_model]
        out = out * here[:, None, None]
    for n in parts:
        if n >= mlp.start:
            found.append(corrupt["resid_post", layer][rows] + through(block.mlp_conv, out[:, n - mlp.start]))
        else:
            change = through(block.attn_conv, z[:, n - heads.start] @ weight[:, n - heads.start].T)
            mid = corrupt["resid_mid", layer][rows] + change
            found.append(after_heads(corrupt, layer, mid[None], rows.start)[0])
    return torch.stack(found)


def _labelled(
    values: np.ndarray, parts: Parts, turns: Sequence[int], turn: int, labels: Sequence[str] | None = None
) -> xr.DataArray:
    labels = list(parts.labels if labels is None else labels)
    coords = {"part": labels, "patched": list(turns), "layer": ("part", [parts.layer_of(p) for p in labels])}
    return xr.DataArray(values.astype(np.float32), coords, ("part", "patched"), "restored", {"turn": turn})
