"""Many products in one launch, none of which knows how many there are: torch reference, CPU and Triton, dispatch.

`matmul` with one weight for each product of the batch, and the same promise for every row of every product.

Source: He et al. 2025, "Defeating Nondeterminism in LLM Inference" (Thinking Machines Lab).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from tml_kernels.matmul import BLOCK_COLS, BLOCK_OUT, BLOCK_ROWS, matmul_cpu
from tml_kernels.rmsnorm import triton_available


def bmm(x: Tensor, weight: Tensor) -> Tensor:
    """`x[b] @ weight[b].T` for every b, each row the same bits whatever the other rows and products are.

    Args:
        x: `[batch, n, cols]`, any floating dtype; weight: `[batch, rows, cols]`, of x's dtype.

    Returns: `[batch, n, rows]` in x's dtype; sums are float32. No gradient.

    Raises ValueError when shapes or dtypes do not fit, or nothing here computes this dtype on this device in a fixed
    order.
    """
    fits = x.ndim == 3 and weight.ndim == 3 and x.dtype == weight.dtype
    if not fits or x.shape[0] != weight.shape[0] or x.shape[2] != weight.shape[2]:
        raise ValueError(
            f"bmm: x must be [batch, n, cols] and weight [batch, rows, cols] of one dtype, got x {tuple(x.shape)} "
            f"{x.dtype} and weight {tuple(weight.shape)} {weight.dtype}."
        )
    if x.is_cuda and triton_available():
        return bmm_triton(x, weight)
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return bmm_cpu(x, weight)
    raise ValueError(f"bmm: no kernel adds {x.dtype} on {x.device.type} in a fixed order; use float32 on the CPU.")


def bmm_reference(x: Tensor, weight: Tensor) -> Tensor:
    """What `bmm` computes, by torch, in whatever order torch likes."""
    return torch.bmm(x, weight.transpose(1, 2))


def bmm_cpu(x: Tensor, weight: Tensor) -> Tensor:
    """The compiled loops of `matmul`, product after product."""
    out = torch.empty(*x.shape[:2], weight.shape[1])
    for b in range(len(x)):
        out[b] = matmul_cpu(x[b], weight[b])
    return out


def bmm_triton(x: Tensor, weight: Tensor) -> Tensor:
    """Tiles of one size, columns in one order, float32 sums. CUDA tensors, or Triton's interpreter."""
    kernel, triton = _build_kernel()
    x, weight = x.contiguous(), weight.contiguous()
    (batch, n, cols), rows = x.shape, weight.shape[1]
    out = torch.empty(batch, n, rows, dtype=x.dtype, device=x.device)
    if out.numel():
        grid = (triton.cdiv(n, BLOCK_ROWS), triton.cdiv(rows, BLOCK_OUT), batch)
        kernel[grid](x, weight, out, n, rows, cols, BLOCK_ROWS, BLOCK_OUT, BLOCK_COLS)
    return out


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(  # pyright: ignore
        x_ptr, w_ptr, out_ptr, n, rows, cols,
        BLOCK_N: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
    ):  # fmt: skip
        product = tl.program_id(2).to(tl.int64)
        token = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
        row = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
        column = tl.arange(0, BLOCK_C)
        here, there = token < n, row < rows
        from_x = x_ptr + (product * n + token)[:, None] * cols
        from_w = w_ptr + (product * rows + row)[:, None] * cols
        total = tl.zeros((BLOCK_N, BLOCK_R), dtype=tl.float32)
        for start in range(0, cols, BLOCK_C):
            place = (start + column)[None, :]
            x = tl.load(from_x + place, mask=here[:, None] & (place < cols), other=0.0)
            w = tl.load(from_w + place, mask=there[:, None] & (place < cols), other=0.0)
            total = tl.dot(x, tl.trans(w), total, input_precision="ieee")
        where = out_ptr + (product * n + token)[:, None] * rows + row[None, :]
        tl.store(where, total.to(out_ptr.dtype.element_ty), mask=here[:, None] & there[None, :])

    return kernel, triton
