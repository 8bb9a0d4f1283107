"""Sending tokens to experts and back, with gradients: gathers both ways, nothing is added up by index.

A token has exactly `top_k` places among the experts' rows, so the gradient of handing it out is the sum of `top_k`
rows read back, and the gradient of collecting is handing out. Autograd's own rule for indexing would scatter and add,
which on a CPU is many times slower.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SLICE = 128  # an expert's slice has a multiple of so many rows


def places(experts: Tensor, n_experts: int) -> tuple[Tensor, int]:
    """Where each (token, expert) pair stands: `experts [n, top_k]` -> `(place [n, top_k], capacity)`.

    Expert e owns the rows `e * capacity .. (e + 1) * capacity`, and its tokens stand there in their own order.
    """
    flat = experts.flatten()  # [n * top_k]
    counts = torch.bincount(flat, minlength=n_experts)  # [n_experts]
    capacity = -(-int(counts.max()) // SLICE) * SLICE
    order = flat.argsort(stable=True)  # [n * top_k]
    starts = counts.cumsum(0) - counts  # [n_experts]
    ranked = flat[order]
    place = torch.empty_like(flat)
    place[order] = ranked * capacity + torch.arange(len(flat), device=flat.device) - starts[ranked]
    return place.view(experts.shape), capacity


class Gather(torch.autograd.Function):
    """Rows for the experts `[slots, d]`: `x [n, d]`, `source [slots]` (a slot's token, -1: none), `place [n, top_k]`.

    An empty slot holds some token's row; nobody reads what its expert makes of it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, place: Tensor) -> Tensor:
        """Hand out."""
        ctx.save_for_backward(place)
        return x.index_select(0, source.clamp(min=0))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Each token's gradient is the sum over its places."""
        (place,) = ctx.saved_tensors
        grad = grads[0]
        total = grad.index_select(0, place[:, 0])
        for k in range(1, place.shape[1]):
            total = total + grad.index_select(0, place[:, k])
        return total, None, None


class Combine(torch.autograd.Function):
    """`hidden [slots, d]` weighed and summed for each token: `weights, place [n, top_k]` -> float32 `[n, d]`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weights: Tensor, place: Tensor, source: Tensor) -> Tensor:
        """Collect."""
        ctx.save_for_backward(hidden, weights, place, source)
        out = hidden.index_select(0, place[:, 0]).float() * weights[:, :1]  # [n, d]
        for k in range(1, place.shape[1]):
            out = torch.addcmul(out, hidden.index_select(0, place[:, k]).float(), weights[:, k : k + 1])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """A slot's gradient is its token's times its weight; empty slots get none."""
        hidden, weights, place, source = ctx.saved_tensors
        grad = grads[0]
        slot_weight = weights.new_zeros(len(source)).scatter_(0, place.flatten(), weights.flatten())  # [slots]
        low = grad.to(hidden.dtype)
        back = low.index_select(0, source.clamp(min=0)) * slot_weight.to(hidden.dtype)[:, None]
        each = [(hidden.index_select(0, place[:, k]).float() * grad).sum(1) for k in range(place.shape[1])]
        return back, torch.stack(each, 1), None, None
