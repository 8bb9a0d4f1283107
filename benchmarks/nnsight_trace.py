"""Our model under nnsight: what its traces see, by our names.

nnsight (PyPI `nnsight`, MIT, https://github.com/ndif-team/nnsight) knows nothing of our hooks: it reads inputs and
outputs of modules, and of single operations in a module's source, from the model's plain forward pass.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from tml_lab.model.interaction import InteractionModel


def wrap(model: InteractionModel) -> Any:
    """A copy of the model under nnsight, which changes what it wraps."""
    from nnsight import NNsight  # pyright: ignore[reportMissingImports]

    wrapped = NNsight(copy.deepcopy(model))
    for block in wrapped.backbone.blocks:
        block.attn.source  # noqa: B018 - attention's source is made readable now: inside a trace it is too late
    return wrapped


@torch.no_grad()
def see(wrapped: Any, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
    """One pass over embeddings `x [1, positions, d_model]`; what `hook_names(cfg)` calls `names`, with a batch axis.

    A trace must ask in the order of the computation.
    """
    found: dict[str, Any] = {}

    def keep(name: str, value: Any) -> None:
        if name in names:
            found[name] = value().save()

    with wrapped.trace(x):
        keep("hook_embed", lambda: wrapped.inputs[0][0])
        for i, block in enumerate(wrapped.backbone.blocks):
            attn, at = block.attn, f"blocks.{i}"
            keep(f"{at}.hook_resid_pre", lambda block=block: block.input)
            keep(f"{at}.attn.hook_v", lambda attn=attn: attn.v_conv.output[0])
            keep(f"{at}.attn.hook_q", lambda attn=attn: attn.q_norm.output)
            keep(f"{at}.attn.hook_k", lambda attn=attn: attn.k_norm.output)
            keep(f"{at}.attn.hook_pattern", lambda attn=attn: attn.source.self__pattern_0.output)
            keep(f"{at}.attn.hook_z", lambda attn=attn: attn.o_proj.input)
            keep(f"{at}.hook_attn_out", lambda block=block: block.attn_conv.output[0])
            keep(f"{at}.hook_resid_mid", lambda block=block: block.mlp_norm.input)
            keep(f"{at}.mlp.hook_expert_weights", lambda block=block: block.mlp.router.output[0])
            keep(f"{at}.mlp.hook_expert_indices", lambda block=block: block.mlp.router.output[1])
            keep(f"{at}.mlp.hook_shared_weights", lambda block=block: block.mlp.router.output[2])
            keep(f"{at}.hook_mlp_out", lambda block=block: block.mlp_conv.output[0])
            keep(f"{at}.hook_resid_post", lambda block=block: block.output)
        keep("ln_final.hook_normalized", lambda: wrapped.output)
    return found


@torch.no_grad()
def without_attention(wrapped: Any, x: Tensor, layer: int) -> Tensor:
    """The final hidden states `[1, positions, d_model]` with one block's attention writing nothing."""
    with wrapped.trace(x):
        out, tail = wrapped.backbone.blocks[layer].attn_conv.output
        wrapped.backbone.blocks[layer].attn_conv.output = (torch.zeros_like(out), tail)
        hidden = wrapped.output.save()
    return hidden  # noqa: RET504 - a trace ends with its block


@torch.no_grad()
def without_head(wrapped: Any, x: Tensor, layer: int, head: int) -> Tensor:
    """The same with one head's output zero."""
    with wrapped.trace(x):
        attn = wrapped.backbone.blocks[layer].attn
        z = attn.o_proj.input.clone()  # [1, positions, heads * d_head]
        width = z.shape[-1] // attn.n_heads
        z[..., head * width : (head + 1) * width] = 0.0
        attn.o_proj.input = z
        hidden = wrapped.output.save()
    return hidden  # noqa: RET504 - a trace ends with its block


@torch.no_grad()
def with_residual(wrapped: Any, x: Tensor, layer: int, positions: Tensor, put: Tensor) -> Tensor:
    """The same with `put [k, d_model]` as the residual stream after one layer, at `positions [k]`."""
    with wrapped.trace(x):
        post = wrapped.backbone.blocks[layer].output.clone()
        post[0, positions] = put
        wrapped.backbone.blocks[layer].output = post
        hidden = wrapped.output.save()
    return hidden  # noqa: RET504 - a trace ends with its block
