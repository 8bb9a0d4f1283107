"""Softmax and log-softmax over rows that do not know their batch: torch reference, CPU and Triton kernels, dispatch.

A library's softmax may split a long row over more threads when there are few rows, and then adds in another order. Here
a row is read in pieces of one size from left to right, by one program, whatever the number of rows.

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


def softmax(x: Tensor) -> Tensor:
    """`exp(x) / sum(exp(x))` over the last axis of `x [..., d]`, in x's dtype; sums are float32.

    A column of -inf gets 0; a row of nothing but -inf gets NaN, as torch's does. Raises ValueError for a scalar, or
    where nothing here adds this dtype on this device in a fixed order. No gradient: training has its own.
    """
    return _dispatch(x, log=False)


def log_softmax(x: Tensor) -> Tensor:
    """`x - log(sum(exp(x)))` over the last axis of `x [..., d]`, in x's dtype (see `softmax`)."""
    return _dispatch(x, log=True)


def softmax_reference(x: Tensor) -> Tensor:
    """What `softmax` computes, by torch."""
    return torch.softmax(x, -1)


def log_softmax_reference(x: Tensor) -> Tensor:
    """What `log_softmax` computes, by torch."""
    return torch.log_softmax(x, -1)


def softmax_cpu(x: Tensor, log: bool) -> Tensor:
    """Compiled loops, float32 on a CPU. No gradient."""
    from tml_kernels.row_loops import softmax_rows

    rows = x.detach().reshape(-1, x.shape[-1]).contiguous()  # [n, d]
    return torch.from_numpy(softmax_rows(rows.numpy(), log)).view(x.shape)


def softmax_triton(x: Tensor, log: bool) -> Tensor:
    """One program a row, which reads it twice. CUDA tensors, or Triton's interpreter. No gradient."""
    kernel, _ = _build_kernel()
    rows = x.reshape(-1, x.shape[-1]).contiguous()  # [n, d]
    out = torch.empty_like(rows)
    if rows.numel():
        kernel[(len(rows),)](rows, out, rows.shape[1], log, BLOCK)
    return out.view(x.shape)


def _dispatch(x: Tensor, log: bool) -> Tensor:
    if x.ndim == 0:
        raise ValueError("softmax: x must have a last axis to sum over, got a single number.")
    if x.is_cuda and triton_available():
        return softmax_triton(x, log)
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return softmax_cpu(x, log)
    raise ValueError(f"softmax: no kernel adds {x.dtype} on {x.device.type} in a fixed order; use float32 on the CPU.")


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(x_ptr, out_ptr, d, LOG: tl.constexpr, BLOCK: tl.constexpr):  # pyright: ignore
        row = tl.program_id(0).to(tl.int64) * d
        column = tl.arange(0, BLOCK)
        top = tl.full((), float("-inf"), tl.float32)
        total = tl.zeros((), dtype=tl.float32)
        for start in range(0, d, BLOCK):  # one pass for the largest and the sum, rescaled when a larger one comes
            inside = start + column < d
            x = tl.load(x_ptr + row + start + column, mask=inside, other=float("-inf")).to(tl.float32)
            higher = tl.maximum(top, tl.max(x, axis=0))
            shift = tl.where(higher == float("-inf"), 0.0, higher)  # nothing yet but -inf
            total = total * tl.exp(top - shift) + tl.sum(tl.exp(x - shift), axis=0)
            top = higher
        for start in range(0, d, BLOCK):
            inside = start + column < d
            x = tl.load(x_ptr + row + start + column, mask=inside, other=0.0).to(tl.float32)
            if LOG:
                y = x - top - tl.log(total)
            else:
                y = tl.exp(x - top) / total
            tl.store(out_ptr + row + start + column, y.to(out_ptr.dtype.element_ty), mask=inside)

    return kernel, triton
