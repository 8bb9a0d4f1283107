"""The parts that a decision can be traced to: every head, every expert; and how to put something else in their place.

A part is written as in an attribution: `L3H2` head 2 of layer 3, `L3E7` its expert 7, `L3S0` its shared expert 0, `L3M`
a dense MLP. What a head adds is its `z` through `o_proj`; what an expert adds is its output times its weight, and
nothing at positions that chose others. Both then pass the layer's ShortConv, which is linear: what is put in an
expert's place is added behind it, so no hook inside the mixture is needed.

A part is taken out by a *stand-in* (`tml_lab.interp.stand_ins`): nothing, its mean, or what it gave elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tml_kernels.experts import swiglu
from tml_lab.config import ModelConfig
from tml_lab.interp.cache import Cache
from tml_lab.interp.names import InterpError, full_name
from tml_lab.interp.watch import Hook, HookFunction, Hooks
from tml_lab.model.backbone import Block
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import MoE
from tml_lab.model.short_conv import ShortConv

HEAD, EXPERT, SHARED, DENSE = "H", "E", "S", "M"
NEEDS = ("experts", "expert_weights", "shared_weights", "resid_mid")  # what hooks on parts read beside their own tensor


@dataclass(frozen=True)
class Parts:
    """All parts of a model, in the order of the computation: of each layer the heads, the experts, the shared ones."""

    cfg: ModelConfig

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Their names, length `len(parts)`."""
        return tuple(label for layer in range(self.cfg.n_layers) for label in self._of_layer(layer))

    def _of_layer(self, layer: int) -> list[str]:
        heads = [f"L{layer}{HEAD}{h}" for h in range(self.cfg.heads(layer)[0])]
        if layer < self.cfg.n_dense_layers:
            return [*heads, f"L{layer}{DENSE}"]
        experts = [f"L{layer}{EXPERT}{e}" for e in range(self.cfg.n_experts)]
        return [*heads, *experts, *(f"L{layer}{SHARED}{s}" for s in range(self.cfg.n_shared_experts))]

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: str) -> int:
        """Its place. Raises InterpError with the names of its layer."""
        if label not in self.labels:
            near = [known for known in self.labels if known.startswith(label[:2])]
            raise InterpError(f"no part is called {label!r}; of its layer there are {', '.join(near) or 'none'}.")
        return self.labels.index(label)

    def mask(self, kept: Iterable[str]) -> Tensor:
        """float32 [parts]: 1 at the named ones, 0 elsewhere. Raises InterpError for one there is not."""
        mask = torch.zeros(len(self))
        for label in kept:
            mask[self.index(label)] = 1.0
        return mask

    def spans(self, layer: int) -> tuple[slice, slice]:
        """Where a layer's heads stand, and what its MLP is made of."""
        first = sum(len(self._of_layer(n)) for n in range(layer))
        heads = self.cfg.heads(layer)[0]
        return slice(first, first + heads), slice(first + heads, first + len(self._of_layer(layer)))

    def layer_of(self, label: str) -> int:
        """The layer of a part. Raises InterpError for one there is not."""
        at = self.index(label)
        return next(n for n in range(self.cfg.n_layers) if at < self.spans(n)[1].stop)


def head_outputs(cache: Cache, layer: int) -> Tensor:
    """What each head adds before the ShortConv: float32 [positions, heads, d_model]. Needs `z`."""
    return head_outputs_at(cache, layer, slice(None))


def head_outputs_at(cache: Cache, layer: int, rows: slice | Tensor) -> Tensor:
    """As `head_outputs`, for some positions."""
    block, z = block_of(cache.model, layer), cache["z", layer][rows].float()  # z [positions, heads, d_head]
    out = block.attn.o_proj.weight.float().view(-1, *z.shape[1:])  # [d_model, heads, d_head]
    return torch.einsum("phd,mhd->phm", z, out)


def mlp_outputs(cache: Cache, layer: int) -> Tensor:
    """What each expert (the routed ones, then the shared ones) adds before the ShortConv: float32 [positions, experts,
    d_model], zeros where it was not chosen; of a dense MLP its one output.

    Needs `resid_mid`, `experts`, `expert_weights`, `shared_weights`.
    """
    return mlp_outputs_at(cache, layer, slice(None))


def mlp_outputs_at(cache: Cache, layer: int, rows: slice | Tensor) -> Tensor:
    """As `mlp_outputs`, for some positions."""
    block, mid = block_of(cache.model, layer), cache["resid_mid", layer][rows]
    if not isinstance(block.mlp, MoE):
        return outputs_of(block, mid, None)
    weights, chosen, shared = (cache[name, layer][rows] for name in ("expert_weights", "experts", "shared_weights"))
    return outputs_of(block, mid, (weights, chosen, shared))


def outputs_of(block: Block, mid: Tensor, routed: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
    """As `mlp_outputs`, for any `mid [positions, d_model]`. `routed`: what the router says of it (`weights, experts,
    shared weights`); None: ask it."""
    x, mlp = block.mlp_norm(mid), block.mlp  # [positions, d_model]
    if not isinstance(mlp, MoE):
        return mlp(x).float()[:, None]
    weights, chosen, shared = mlp.router(x) if routed is None else routed
    out = torch.zeros(len(x), mlp.n_experts + mlp.n_shared, x.shape[1], device=x.device)
    for e in range(mlp.n_experts):
        rows, slot = (chosen == e).nonzero(as_tuple=True)
        out[rows, e] = swiglu(x[rows], mlp.gate_up[e], mlp.down[e]).float() * weights[rows, slot, None]
    for j in range(mlp.n_shared):
        out[:, mlp.n_experts + j] = swiglu(x, mlp.shared_gate_up[j], mlp.shared_down[j]) * shared[:, j, None]
    return out


OUTPUTS = ("z", "resid_mid", "experts", "expert_weights", "shared_weights")


def output_names(cfg: ModelConfig) -> list[str]:
    """What a cache must hold for `head_outputs` and `mlp_outputs` of every layer."""
    return [
        full_name(short, layer)
        for layer in range(cfg.n_layers)
        for short in (OUTPUTS[:2] if layer < cfg.n_dense_layers else OUTPUTS)
    ]


def block_of(model: InteractionModel, layer: int) -> Block:
    """One layer."""
    block = model.backbone.blocks[layer]
    assert isinstance(block, Block)
    return block


class StandIns:
    """What stands in a part's place; this one: nothing. Others in `tml_lab.interp.stand_ins`."""

    def z(self, layer: int, hook: Hook) -> Tensor | None:
        """For the heads at the hook's positions: [positions, heads, d_head]; None: zeros."""
        return None

    def out(self, layer: int, hook: Hook, before: int) -> Tensor | None:
        """For what the MLP is made of, at the hook's positions and up to `before` earlier ones: [positions, parts,
        d_model]; None: zeros."""
        return None


def masked_hooks(model: InteractionModel, mask: Tensor, stand_ins: StandIns | None = None) -> Hooks:
    """Hooks that let through `mask [parts]` of each part, and for the rest of it put its stand-in: 1 keeps, 0 ablates.

    The gradient reaches the mask. The hooks need `NEEDS`. They serve offline, while streaming and in a replay, as far
    as the stand-ins do. Raises InterpError for a mask of another length.
    """
    parts, stand_ins = Parts(model.cfg), stand_ins or StandIns()
    if mask.shape != (len(parts),):
        raise InterpError(f"a mask of this model's parts has {len(parts)} numbers, not {list(mask.shape)}.")
    mask = mask.to(next(model.parameters()).device)
    hooks: list[tuple[str, HookFunction]] = []
    for layer in range(model.cfg.n_layers):
        of_heads, of_mlp = (mask[span] for span in parts.spans(layer))
        if _all_kept(of_heads, of_mlp):
            continue
        hooks.append((full_name("z", layer), _mask_heads(layer, of_heads, stand_ins)))
        block, routed = block_of(model, layer), layer >= model.cfg.n_dense_layers
        if routed:
            hooks += _mask_weights(layer, of_mlp, model.cfg.n_experts)
        hooks.append((full_name("mlp_out", layer), _fill_mlp(layer, of_mlp, block.mlp_conv, stand_ins, not routed)))
    return hooks


def _all_kept(*masks: Tensor) -> bool:
    return all(not m.requires_grad and bool((m == 1).all()) for m in masks)


def _mask_heads(layer: int, keep: Tensor, stand_ins: StandIns) -> HookFunction:
    def mask_heads(z: Tensor, hook: Hook) -> Tensor:
        kept, other = keep[:, None] * z, stand_ins.z(layer, hook)  # [positions, heads, d_head]
        return kept if other is None else kept + (1 - keep)[:, None] * other

    return mask_heads


def _mask_weights(layer: int, keep: Tensor, n_experts: int) -> list[tuple[str, HookFunction]]:
    def mask_routed(weights: Tensor, hook: Hook) -> Tensor:
        return weights * keep[:n_experts][hook.tap["experts"]]  # [positions, top_k]

    def mask_shared(weights: Tensor, hook: Hook) -> Tensor:
        return weights * keep[n_experts:]  # [positions, n_shared]

    return [(full_name("expert_weights", layer), mask_routed), (full_name("shared_weights", layer), mask_shared)]


def _fill_mlp(layer: int, keep: Tensor, conv: ShortConv, stand_ins: StandIns, dense: bool) -> HookFunction:
    def fill(out: Tensor, hook: Hook) -> Tensor:
        out = keep * out if dense else out  # [positions, d_model]
        before = min(conv.kernel - 1, hook.piece.start)
        other = stand_ins.out(layer, hook, before)
        return out if other is None else out + through(conv, torch.einsum("e,ped->pd", 1 - keep, other), before)

    return fill


def through(conv: ShortConv, x: Tensor, before: int = 0) -> Tensor:
    """`x [positions, d_model]` through a ShortConv, without the first `before` positions, which are its past."""
    past = torch.cat([x.new_zeros(conv.kernel - 1 - before, x.shape[1]), x[:before]])  # [kernel - 1, d_model]
    return conv(x[None, before:], past[None])[0][0]
