"""Routed experts: gather + gemv for a few tokens, grouped products for many; torch reference, Triton, dispatch.

A micro-turn brings one to twenty tokens, and each goes to its own experts: there is hardly a tile to fill, and the time
is that of reading the chosen weights once. So for a few tokens every (token, expert) pair is a matrix-vector product
that reads its rows straight from where they lie (no sorting, no copies); for many, tokens are sorted by expert and each
expert is a matrix product. Gather + gemv adds each output element in one order, by expert; the grouped products agree
with it to rounding, and promise no order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

FEW_TOKENS = 16
"""Up to so many tokens go by gather + gemv; the crossover is to be measured on each machine (`benchmarks/`)."""
HIDDEN_TILE, OUT_TILE = (4, 512), (4, 512)
"""Weight rows of a program, and how much of them it reads at once: so few that one token's experts give a thousand
programs and more, so long that a warp reads a kilobyte in a piece. No function of the batch."""


def experts(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The weighted sum of each token's experts.

    Args:
        x: `[n, d]`.
        weight: `[n, top_k]`, how much each chosen expert counts; float32.
        chosen: `[n, top_k]`, which experts, no one twice in a row.
        gate_up: `[n_experts, 2 * inner, d]`, gate rows first; down: `[n_experts, d, inner]`. SwiGLU.

    Returns: `[n, d]` float32.

    Raises ValueError when shapes do not fit.
    """
    if gate_up.shape[1] != 2 * down.shape[2] or down.shape[1] != x.shape[1] or chosen.shape != weight.shape:
        raise ValueError(
            f"experts: gate_up [n_experts, 2 * inner, d] and down [n_experts, d, inner] for x [n, d]; got x "
            f"{tuple(x.shape)}, gate_up {tuple(gate_up.shape)}, down {tuple(down.shape)}, chosen {tuple(chosen.shape)}."
        )
    if x.is_cuda and len(x) <= FEW_TOKENS and triton_available() and not torch.is_grad_enabled():
        return experts_triton(x, weight, chosen, gate_up, down)
    return experts_grouped(x, weight, chosen, gate_up, down)


def experts_reference(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """What `experts` computes (same arguments), every expert on every token; any floating dtype."""
    gate, up = torch.einsum("nd,eid->nei", x, gate_up).chunk(2, dim=-1)  # [n, n_experts, inner] twice
    said = torch.einsum("nei,edi->ned", F.silu(gate) * up, down)  # [n, n_experts, d]
    counts = weight.new_zeros(len(x), len(down)).scatter_(1, chosen, weight)  # [n, n_experts]
    return (said * counts[..., None].to(said.dtype)).sum(1)


def experts_gathered(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Gather + gemv in torch's words (arguments as of `experts`): each pair's matrices are picked out, then multiplied.

    What `experts_triton` computes; but torch copies what it picks, and reads it again. Float64 stays float64.
    """
    gate, up = torch.einsum("nd,nkid->nki", x, gate_up[chosen]).chunk(2, dim=-1)  # [n, top_k, inner] twice
    said = torch.einsum("nki,nkdi->nkd", F.silu(gate) * up, down[chosen])  # [n, top_k, d]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (said.to(wide) * weight[..., None].to(wide)).sum(1)  # [n, d]


def gated(x: Tensor) -> Tensor:
    """SwiGLU's middle: `x [..., 2 * inner]`, gate first -> `[..., inner]`."""
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


def swiglu(x: Tensor, gate_up: Tensor, down: Tensor, middle: Callable[[Tensor], Tensor] = gated) -> Tensor:
    """One expert: `x [n, d]`, `gate_up [2 * inner, d]`, `down [d, inner]` -> `[n, d]`; `middle`: a compiled `gated`."""
    return F.linear(middle(F.linear(x, gate_up)), down)


def experts_grouped(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """`experts` by sorting (token, expert) pairs by expert; any device, differentiable."""
    n, top_k = chosen.shape
    order = chosen.flatten().argsort(stable=True)  # [n * top_k]
    counts = torch.bincount(chosen.flatten(), minlength=len(down)).tolist()
    out = torch.zeros(n, x.shape[1], dtype=torch.float32, device=x.device)
    start = 0
    for e, count in enumerate(counts):
        if count:
            pairs = order[start : start + count]
            token = pairs // top_k
            said = swiglu(x[token], gate_up[e], down[e]).float() * weight.flatten()[pairs, None]
            out = out.index_add(0, token, said)  # a token meets an expert once: one addition an element
            start += count
    return out


def experts_triton(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Gather + gemv: one program for each pair and each block of weight rows. CUDA tensors, or the interpreter."""
    chosen, slot = chosen.sort(dim=1)  # by expert: the order of additions
    return experts_in_order(x, weight.gather(1, slot), chosen, gate_up, down)


def experts_in_order(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """`experts_triton` where each token's `chosen` ascend, as `route` leaves them: two launches."""
    hidden_kernel, out_kernel, triton = _build_kernels()
    n, d = x.shape
    top_k, inner = chosen.shape[1], down.shape[2]
    hidden = torch.empty(n, top_k, inner, dtype=torch.float32, device=x.device)
    out = torch.empty(n, d, dtype=torch.float32, device=x.device)
    if n == 0:
        return out
    weight = weight.float().contiguous()
    x, gate_up, down, chosen = (t.contiguous() for t in (x, gate_up, down, chosen))
    (rows, most), (out_rows, out_most) = HIDDEN_TILE, OUT_TILE
    cols, out_cols = (min(b, max(16, triton.next_power_of_2(k))) for b, k in ((most, d), (out_most, inner)))
    hidden_kernel[(n * top_k, triton.cdiv(inner, rows))](x, chosen, gate_up, hidden, d, inner, top_k, rows, cols)
    out_kernel[(n, triton.cdiv(d, out_rows))](
        hidden, chosen, weight, down, out, d, inner, top_k, out_rows, out_cols
    )
    return out


@functools.cache
def _build_kernels() -> tuple[Any, Any, Any]:
    """The kernels, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def hidden_kernel(  # pyright: ignore
        x_ptr, chosen_ptr, gate_up_ptr, hidden_ptr, d, inner, top_k, ROWS: tl.constexpr, COLS: tl.constexpr
    ):
        pair = tl.program_id(0).to(tl.int64)
        row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
        there = row < inner
        expert = tl.load(chosen_ptr + pair).to(tl.int64)
        x_ptr += (pair // top_k) * d
        gate_ptr = gate_up_ptr + (expert * 2 * inner + row.to(tl.int64)) * d
        up_ptr = gate_ptr + inner * d
        gate = tl.zeros((ROWS, COLS), dtype=tl.float32)
        up = tl.zeros((ROWS, COLS), dtype=tl.float32)
        for start in range(0, d, COLS):
            column = start + tl.arange(0, COLS)
            inside = column < d
            both = there[:, None] & inside[None, :]
            x = tl.load(x_ptr + column, mask=inside, other=0.0).to(tl.float32)[None, :]
            gate += x * tl.load(gate_ptr[:, None] + column[None, :], mask=both, other=0.0).to(tl.float32)
            up += x * tl.load(up_ptr[:, None] + column[None, :], mask=both, other=0.0).to(tl.float32)
        g, u = tl.sum(gate, axis=1), tl.sum(up, axis=1)
        tl.store(hidden_ptr + pair * inner + row, g / (1.0 + tl.exp(-g)) * u, mask=there)

    @triton.jit
    def out_kernel(  # pyright: ignore
        hidden_ptr, chosen_ptr, weight_ptr, down_ptr, out_ptr, d, inner, top_k, ROWS: tl.constexpr, COLS: tl.constexpr
    ):
        token = tl.program_id(0).to(tl.int64)
        row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
        there = row < d
        total = tl.zeros((ROWS,), dtype=tl.float32)
        for k in range(top_k):
            pair = token * top_k + k
            expert = tl.load(chosen_ptr + pair).to(tl.int64)
            base = down_ptr + (expert * d + row.to(tl.int64)) * inner
            said = tl.zeros((ROWS, COLS), dtype=tl.float32)
            for start in range(0, inner, COLS):
                column = start + tl.arange(0, COLS)
                inside = column < inner
                hidden = tl.load(hidden_ptr + pair * inner + column, mask=inside, other=0.0)[None, :]
                both = there[:, None] & inside[None, :]
                said += hidden * tl.load(base[:, None] + column[None, :], mask=both, other=0.0).to(tl.float32)
            total += tl.sum(said, axis=1) * tl.load(weight_ptr + pair)
        tl.store(out_ptr + token * d + row, total, mask=there)

    return hidden_kernel, out_kernel, triton
