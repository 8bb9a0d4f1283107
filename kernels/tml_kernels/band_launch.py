"""Softmax over a band with a bias, and its gradient, on a GPU: `band_softmax`'s two loops as Triton kernels.

Queries come in blocks of `block`; each block has the scores of the `window + block` keys that any of its queries may
see. Query a of a block sees the columns `a + 1 .. a + window`: a band. `bias` holds one number for each column of the
band. One program a row: scores and bias are read once, the pattern is written over the scores.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def softmax_rows(scores: Tensor, bias: Tensor, block: int, n_blocks: int) -> None:
    """`scores [B, rows, window + block]` become the pattern, in place; `bias [B, rows, window]`; both contiguous.

    B counts (sequence and head, block) with `n_blocks` blocks each; a row's place in its block is `row % block`. Keys
    before the sequence's start, and all columns outside the band, get 0. CUDA tensors, or Triton's interpreter.
    """
    n, rows, width = scores.shape
    forward, _, triton = _build_kernels()
    if scores.numel():
        size = triton.next_power_of_2(width)
        forward[(n * rows,)](scores, bias, rows, block, n_blocks, bias.shape[2], size, num_warps=_warps(size))


def softmax_rows_backward(pattern: Tensor, grad: Tensor, grad_bias: Tensor, block: int) -> None:
    """`grad [B, rows, window + block]` of the pattern becomes the scores' gradient, in place.

    `grad_bias [B, rows, window]` receives its band.
    """
    n, rows, width = grad.shape
    _, backward, triton = _build_kernels()
    if grad.numel():
        size = triton.next_power_of_2(width)
        backward[(n * rows,)](pattern, grad, grad_bias, rows, block, grad_bias.shape[2], size, num_warps=_warps(size))


def _warps(size: int) -> int:
    return 1 if size <= 512 else 4 if size <= 2048 else 8


def softmax_rows_reference(scores: Tensor, bias: Tensor, block: int, n_blocks: int) -> Tensor:
    """What `softmax_rows` makes of its arguments, by torch; any floating dtype."""
    n, rows, width = scores.shape
    window = bias.shape[2]
    first = torch.arange(rows, device=scores.device)[:, None] % block + 1  # [rows, 1]
    column = torch.arange(width, device=scores.device)  # [width]
    place = column - first  # of a column in the row's band: [rows, width]
    start = (torch.arange(n, device=scores.device) % n_blocks * block)[:, None, None]
    seen = (place >= 0) & (place < window) & (column >= window - start)  # [n, rows, width]
    bent = bias.gather(2, place.clamp(0, window - 1).expand(n, -1, -1))
    return (scores + bent).masked_fill(~seen, -torch.inf).softmax(-1)


@functools.cache
def _build_kernels() -> tuple[Any, Any, Any]:
    """The kernels, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def forward(scores_ptr, bias_ptr, rows, block, n_blocks, window, SIZE: tl.constexpr):  # pyright: ignore
        row = tl.program_id(0).to(tl.int64)
        first = (row % rows) % block + 1
        missing = window - (row // rows) % n_blocks * block  # columns before the sequence's start
        column = tl.arange(0, SIZE)
        seen = (column >= first) & (column < first + window) & (column >= missing)
        score_at = scores_ptr + row * (window + block) + column
        x = tl.load(score_at, mask=seen, other=0.0).to(tl.float32)
        x += tl.load(bias_ptr + row * window + column - first, mask=seen, other=0.0).to(tl.float32)
        x = tl.where(seen, x, float("-inf"))
        weight = tl.exp(x - tl.max(x, axis=0))  # each query sees itself: the largest is a number
        pattern = weight / tl.sum(weight, axis=0)
        tl.store(score_at, pattern.to(scores_ptr.dtype.element_ty), mask=column < window + block)

    @triton.jit
    def backward(pattern_ptr, grad_ptr, grad_bias_ptr, rows, block, window, SIZE: tl.constexpr):  # pyright: ignore
        row = tl.program_id(0).to(tl.int64)
        first = (row % rows) % block + 1
        column = tl.arange(0, SIZE)
        band = (column >= first) & (column < first + window)
        at = row * (window + block) + column
        p = tl.load(pattern_ptr + at, mask=band, other=0.0).to(tl.float32)
        g = tl.load(grad_ptr + at, mask=band, other=0.0).to(tl.float32)
        slope = (p * (g - tl.sum(p * g, axis=0))).to(grad_ptr.dtype.element_ty)
        tl.store(grad_ptr + at, slope, mask=column < window + block)
        tl.store(grad_bias_ptr + row * window + column - first, slope, mask=band)

    return forward, backward, triton
