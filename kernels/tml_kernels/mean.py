"""The mean over rows that do not know their batch: torch reference, CPU and Triton kernels, dispatch.

Few long rows tempt a library to split each over many threads, many rows do not: two orders of additions. Here a row is
added in pieces of one size from left to right.

Source: He et al. 2025, "Defeating Nondeterminism in LLM Inference" (Thinking Machines Lab).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

BLOCK = 1024
"""Columns read at once by the Triton kernel: one size for every row and every batch."""


def mean(x: Tensor) -> Tensor:
    """The mean over the last axis: `x [..., d]` -> `[...]` in x's dtype; sums are float32.

    Raises ValueError for an empty row or a scalar, or where nothing here adds this dtype on this device in a fixed
    order. No gradient.
    """
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"mean: x must have at least one number in its last axis, got {tuple(x.shape)}.")
    if x.is_cuda and triton_available():
        return mean_triton(x)
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return mean_cpu(x)
    raise ValueError(f"mean: no kernel adds {x.dtype} on {x.device.type} in a fixed order; use float32 on the CPU.")


def mean_reference(x: Tensor) -> Tensor:
    """What `mean` computes, by torch."""
    return x.mean(-1)


def mean_cpu(x: Tensor) -> Tensor:
    """Compiled loops, float32 on a CPU."""
    from tml_kernels.row_loops import mean_rows

    rows = x.detach().reshape(-1, x.shape[-1]).contiguous()  # [n, d]
    return torch.from_numpy(mean_rows(rows.numpy())).view(x.shape[:-1])


def mean_triton(x: Tensor) -> Tensor:
    """One program a row. CUDA tensors, or Triton's interpreter."""
    kernel, _ = _build_kernel()
    rows = x.reshape(-1, x.shape[-1]).contiguous()  # [n, d]
    out = torch.empty(len(rows), dtype=x.dtype, device=x.device)
    if len(rows):
        kernel[(len(rows),)](rows, out, rows.shape[1], BLOCK)
    return out.view(x.shape[:-1])


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(x_ptr, out_ptr, d, BLOCK: tl.constexpr):  # pyright: ignore
        row = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        total = tl.zeros((), dtype=tl.float32)
        for start in range(0, d, BLOCK):
            x = tl.load(x_ptr + row * d + start + column, mask=start + column < d, other=0.0)
            total += tl.sum(x.to(tl.float32), axis=0)
        tl.store(out_ptr + row, (total / d).to(out_ptr.dtype.element_ty))

    return kernel, triton
