"""The router in two launches: scores, top-k with a balancing bias, weights with the shared experts as a sink.

Torch reference, Triton, dispatch. Source: `InklingTopkRouter` (see `tml_lab.model.moe.Router`); everything is float32,
because half precision would round distinct scores to ties.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

Routed = tuple[Tensor, Tensor, Tensor]
"""Weights of the chosen experts `[n, top_k]` float32, which they are `[n, top_k]`, shared weights `[n, n_shared]`."""
MAX_EXPERTS = 1024
"""Most experts, shared ones included, that one program holds; more go by the reference."""
BLOCK_ROWS, BLOCK_COLS = 8, 256
"""Of the router's weight, read at once by one program: no function of the batch."""


def route(x: Tensor, weight: Tensor, bias: Tensor, top_k: int, scale: float) -> Routed:
    """Choose `top_k` experts for each token by sigmoid score plus bias, and weigh them with the shared ones.

    Args:
        x: `[n, d]`; weight: `[n_experts + n_shared, d]`; bias: `[n_experts]`, for the choice only.
        scale: what the weights of a token add up to.

    The chosen come in ascending order of their number. Raises ValueError when `top_k` or shapes do not fit.
    """
    if weight.shape[1:] != x.shape[1:] or not 1 <= top_k <= len(bias) <= len(weight):
        raise ValueError(
            f"route: weight [n_experts + n_shared, d] for x [n, d], 1 <= top_k <= n_experts; got x {tuple(x.shape)}, "
            f"weight {tuple(weight.shape)}, bias {tuple(bias.shape)}, top_k {top_k}."
        )
    if x.is_cuda and triton_available() and not torch.is_grad_enabled() and len(weight) <= MAX_EXPERTS:
        return route_triton(x, weight, bias, top_k, scale)
    return route_reference(x, weight, bias, top_k, scale)


def route_reference(
    x: Tensor, weight: Tensor, bias: Tensor, top_k: int, scale: float | Tensor, ascending: bool = True
) -> Routed:
    """Plain torch version of `route` (same arguments); differentiable, any device; float64 stays float64.

    The model's own router (`tml_lab.model.moe.Router`) is this one. Its `scale [1]` is learned, and it leaves the
    chosen as they come (`ascending=False`): one launch less, and who reads them asks for no order.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    logits = F.linear(x.to(wide), weight.to(wide))  # [n, n_experts + n_shared]
    routed, shared = logits.split([len(bias), len(weight) - len(bias)], dim=-1)
    chosen = torch.topk(routed.sigmoid() + bias.to(wide), top_k, dim=-1, sorted=False).indices  # [n, top_k]
    if ascending:
        chosen = chosen.sort(dim=-1).values
    kept = F.logsigmoid(torch.cat([routed.gather(-1, chosen), shared], dim=-1))  # [n, top_k + n_shared]
    weights = torch.softmax(kept, dim=-1) * scale
    return weights[:, :top_k], chosen, weights[:, top_k:]


def route_triton(x: Tensor, weight: Tensor, bias: Tensor, top_k: int, scale: float) -> Routed:
    """Scores by a few experts a program, the choice by one program a token. CUDA tensors, or Triton's interpreter.

    No gradient.
    """
    score_kernel, kernel, triton = _build_kernels()
    n, d = x.shape
    n_experts, n_all = len(bias), len(weight)
    # zeros, not what the memory holds: a token that is not a number chooses nothing, and an index must stay an index
    chosen = torch.zeros(n, top_k, dtype=torch.int64, device=x.device)
    weights = torch.empty(n, n_all, dtype=torch.float32, device=x.device)  # scores at first; then 0 where not chosen
    if n:
        cols = min(BLOCK_COLS, max(16, triton.next_power_of_2(d)))
        args = (x.contiguous(), weight.contiguous(), weights, d, n_all, BLOCK_ROWS, cols)
        score_kernel[(n, triton.cdiv(n_all, BLOCK_ROWS))](*args)
        block = max(2, triton.next_power_of_2(n_all))
        kernel[(n,)](bias.float().contiguous(), chosen, weights, n_experts, n_all, float(scale), top_k, block)
    return weights.gather(1, chosen), chosen, weights[:, n_experts:]


@functools.cache
def _build_kernels() -> tuple[Any, Any, Any]:
    """The kernels, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def score_kernel(  # pyright: ignore
        x_ptr, weight_ptr, out_ptr, d, n_all, ROWS: tl.constexpr, COLS: tl.constexpr
    ):
        token = tl.program_id(0).to(tl.int64)
        expert = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
        there = expert < n_all
        rows = weight_ptr + expert.to(tl.int64)[:, None] * d
        sums = tl.zeros((ROWS, COLS), dtype=tl.float32)
        for start in range(0, d, COLS):
            column = start + tl.arange(0, COLS)
            inside = column < d
            x = tl.load(x_ptr + token * d + column, mask=inside, other=0.0).to(tl.float32)[None, :]
            both = there[:, None] & inside[None, :]
            sums += x * tl.load(rows + column[None, :], mask=both, other=0.0).to(tl.float32)
        tl.store(out_ptr + token * n_all + expert, 1.0 / (1.0 + tl.exp(-tl.sum(sums, axis=1))), mask=there)

    @triton.jit
    def kernel(  # pyright: ignore
        bias_ptr, chosen_ptr, out_ptr, n_experts, n_all, scale, TOP_K: tl.constexpr, BLOCK: tl.constexpr
    ):
        token = tl.program_id(0).to(tl.int64)
        expert = tl.arange(0, BLOCK)
        there = expert < n_all
        score = tl.load(out_ptr + token * n_all + expert, mask=there, other=0.0)
        routed = expert < n_experts
        rank = tl.where(routed, score + tl.load(bias_ptr + expert, mask=routed, other=0.0), -float("inf"))
        kept = there & (expert >= n_experts)
        for _ in range(TOP_K):
            best = tl.max(rank, axis=0)
            first = tl.min(tl.where(rank == best, expert, BLOCK), axis=0)  # of equals the first
            kept = kept | (expert == first)
            rank = tl.where(expert == first, -float("inf"), rank)
        score = tl.where(kept, score, 0.0)
        tl.store(out_ptr + token * n_all + expert, score / tl.sum(score, axis=0) * scale, mask=there)
        picked = kept & routed
        place = tl.cumsum(picked.to(tl.int32), axis=0) - 1
        tl.store(chosen_ptr + token * TOP_K + place, expert.to(tl.int64), mask=picked)

    return score_kernel, kernel, triton
