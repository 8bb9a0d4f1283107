"""Matrix product whose rows do not know their batch: torch reference, CPU and Triton kernels, dispatch by device.

A library's product chooses its algorithm by the number of rows: one row is a sum over the columns in one order, forty
rows are tiles that add in another, and so the same token gets other bits beside other tokens. Here the tiles along the
columns, and with them the order of additions of each output element, are functions of the weight's shape alone.

Source: He et al. 2025, "Defeating Nondeterminism in LLM Inference" (Thinking Machines Lab).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

BLOCK_ROWS, BLOCK_OUT, BLOCK_COLS = 32, 32, 64
"""The Triton kernel's tile in float32: rows of x, rows of the weight, columns."""
BLOCK_HALF = 64
"""Columns of a tile in half precision: one size for every batch, for another would be another order of additions."""
GROUP = 8
"""Tiles of x's rows that are computed side by side, so that they share what the second cache holds of the weight."""


def half_tile(n: int) -> tuple[int, int, int, int]:
    """For `n` rows in half precision: rows of x and of the weight in a tile, warps, stages.

    These only share the outputs out. Each output adds `BLOCK_HALF` columns after `BLOCK_HALF` columns, whatever its
    tile; 64 rows are the fewest that Hopper's tensor cores take by the same instruction as many.
    """
    if n <= 64:
        return 64, 32, 4, 6  # the weight is read once: many programs, much of it under way
    return (128, 128, 8, 4) if n < 2048 else (128, 256, 8, 3)


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight.T`, each row of the result the same bits whatever the other rows are.

    Args:
        x: `[..., cols]`, any floating dtype.
        weight: `[rows, cols]`, of x's dtype.

    Returns:
        `[..., rows]` in x's dtype; sums are float32.

    Raises:
        ValueError: shapes or dtypes do not fit, or nothing here computes this dtype on this device in a fixed order.

    Has a gradient, which is the library's own product: as exact as ever, but in no promised order.
    """
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1] or x.dtype != weight.dtype:
        raise ValueError(
            f"matmul: x must be [..., cols] and weight [rows, cols] of one dtype, got x {tuple(x.shape)} {x.dtype} "
            f"and weight {tuple(weight.shape)} {weight.dtype}."
        )
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _WithGradient.apply(x, weight)  # type: ignore[no-any-return]
    return _forward(x, weight)


def matmul_reference(x: Tensor, weight: Tensor) -> Tensor:
    """What `matmul` computes, by torch (same arguments), in whatever order torch likes."""
    return F.linear(x, weight)


def matmul_cpu(x: Tensor, weight: Tensor) -> Tensor:
    """Compiled loops, float32 on a CPU: each weight is read once for all rows. No gradient."""
    from tml_kernels.weights import alone
    from tml_kernels.weights import matmul as loops

    rows = x.detach().reshape(-1, x.shape[-1]).contiguous()  # [n, cols]
    whole = weight.detach().contiguous().numpy()
    out = loops(alone(whole), rows.numpy())  # [n, rows]
    return torch.from_numpy(out).view(*x.shape[:-1], len(weight))


def matmul_triton(x: Tensor, weight: Tensor) -> Tensor:
    """Tiles of one size, columns in one order, float32 sums. CUDA tensors, or Triton's interpreter. No gradient."""
    kernel, triton = _build_kernel()
    rows = x.reshape(-1, x.shape[-1]).contiguous()  # [n, cols]
    weight = weight.contiguous()
    n, cols = rows.shape
    out = torch.empty(n, len(weight), dtype=x.dtype, device=x.device)  # [n, rows]
    half = x.dtype in (torch.bfloat16, torch.float16)
    # the largest tile is for columns that are read 16 bytes at a time; others would not fit the registers
    many = n if cols % 16 == 0 else min(n, 2047)
    tile_n, tile_r, warps, stages = half_tile(many) if half else (BLOCK_ROWS, BLOCK_OUT, 4, 3)
    block = BLOCK_HALF if half else BLOCK_COLS
    if out.numel():
        grid = (triton.cdiv(n, tile_n) * triton.cdiv(len(weight), tile_r),)
        kernel[grid](
            rows, weight, out, n, len(weight), cols, cols % block == 0, tile_n, tile_r, block, GROUP,
            num_warps=warps, num_stages=stages,
        )  # fmt: skip
    return out.view(*x.shape[:-1], len(weight))


def _forward(x: Tensor, weight: Tensor) -> Tensor:
    if x.is_cuda and triton_available():
        return matmul_triton(x, weight)
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return matmul_cpu(x, weight)
    raise ValueError(f"matmul: no kernel adds {x.dtype} on {x.device.type} in a fixed order; use float32 on the CPU.")


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _forward(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        flat = grads[0].reshape(-1, len(weight))  # [n, rows]
        return grads[0] @ weight, flat.T @ x.reshape(-1, x.shape[-1])


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(  # pyright: ignore
        x_ptr, w_ptr, out_ptr, n, rows, cols,
        WHOLE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, GROUP: tl.constexpr,
    ):  # fmt: skip
        # GROUP tiles down x, then one along the weight: neighbours in time read the same weights
        tiles_n, tiles_r = tl.cdiv(n, BLOCK_N), tl.cdiv(rows, BLOCK_R)
        group = tl.program_id(0) // (GROUP * tiles_r)
        height = tl.minimum(tiles_n - group * GROUP, GROUP)
        within = tl.program_id(0) % (GROUP * tiles_r)
        token = (group * GROUP + within % height) * BLOCK_N + tl.arange(0, BLOCK_N)
        row = (within // height) * BLOCK_R + tl.arange(0, BLOCK_R)
        column = tl.arange(0, BLOCK_C)
        # beyond the last row the first ones are read again, and not stored: no mask in the loop
        from_x = x_ptr + (token % n).to(tl.int64)[:, None] * cols + column[None, :]
        from_w = w_ptr + (row % rows).to(tl.int64)[None, :] * cols + column[:, None]
        total = tl.zeros((BLOCK_N, BLOCK_R), dtype=tl.float32)
        for start in range(0, cols, BLOCK_C):
            if WHOLE:
                x, w = tl.load(from_x), tl.load(from_w)
            else:
                inside = start + column < cols
                x = tl.load(from_x, mask=inside[None, :], other=0.0)
                w = tl.load(from_w, mask=inside[:, None], other=0.0)
            total = tl.dot(x, w, total, input_precision="ieee")
            from_x += BLOCK_C
            from_w += BLOCK_C
        where = out_ptr + token.to(tl.int64)[:, None] * rows + row[None, :]
        tl.store(where, total.to(out_ptr.dtype.element_ty), mask=(token < n)[:, None] & (row < rows)[None, :])

    return kernel, triton
