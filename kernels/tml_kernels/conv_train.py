"""ShortConv over whole rows, with its gradient, each in one launch: what training on a GPU runs.

Torch's own operators read and write the rows a dozen times each way. The reference is `short_conv_reference`, row by
row with a tail of zeros.

Source: `InklingShortConvolution` (see `tml_lab.model.short_conv.ShortConv`).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

TOKENS, CHANNELS = 32, 64
"""Of one program."""
SPAN = 1024
"""Tokens whose products one program adds up for the taps' gradient; the spans' sums are added by torch."""


class RowConv(torch.autograd.Function):
    """`y[t] = x[t] + sum_j weight[:, j] * x[t - kernel + 1 + j]` inside each row, sums in float32.

    `x [batch, n, channels]`, `weight [channels, kernel]` -> as x. CUDA tensors, or Triton's interpreter.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Each position takes from those before it."""
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        return _shifted_sum(x, weight, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """Each position takes from those behind it; the taps from all."""
        x, weight = ctx.saved_tensors
        grad = grads[0].to(x.dtype).contiguous()
        return _shifted_sum(grad, weight, 1), _taps_gradient(grad, x, weight)


def _shifted_sum(x: Tensor, weight: Tensor, side: int) -> Tensor:
    shifted, _, triton = _build_kernels()
    batch, n, channels = x.shape
    out = torch.empty_like(x)
    if x.numel():
        grid = (triton.cdiv(batch * n, TOKENS), triton.cdiv(channels, CHANNELS))
        shifted[grid](x, weight.contiguous(), out, batch * n, n, channels, side, weight.shape[1], TOKENS, CHANNELS)
    return out


def _taps_gradient(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    _, taps, triton = _build_kernels()
    (batch, n, channels), kernel = x.shape, weight.shape[1]
    spans = triton.cdiv(batch * n, SPAN)
    parts = torch.empty(spans, channels, kernel, device=x.device)  # float32
    if x.numel():
        grid = (spans, triton.cdiv(channels, CHANNELS), kernel)
        taps[grid](grad, x, parts, batch * n, n, channels, kernel, SPAN, TOKENS, CHANNELS)
    return parts.sum(0).to(weight.dtype)  # [channels, kernel]


@functools.cache
def _build_kernels() -> tuple[Any, Any, Any]:
    """The kernels, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def shifted(  # pyright: ignore
        x_ptr, weight_ptr, out_ptr, total, n, channels, side,
        KERNEL: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr,
    ):  # fmt: skip
        token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
        channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
        inside = (token < total)[:, None] & (channel < channels)[None, :]
        place = token % n  # in its row
        at = token.to(tl.int64)[:, None] * channels + channel[None, :]
        y = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        for j in tl.static_range(KERNEL):  # pyright: ignore
            shift = side * (KERNEL - 1 - j)
            seen = (place + shift >= 0) & (place + shift < n)
            x = tl.load(x_ptr + at + shift * channels, mask=inside & seen[:, None], other=0.0).to(tl.float32)
            tap = tl.load(weight_ptr + channel * KERNEL + j, mask=channel < channels, other=0.0).to(tl.float32)
            y += x * tap[None, :]
        tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=inside)

    @triton.jit
    def taps(  # pyright: ignore
        grad_ptr, x_ptr, parts_ptr, total, n, channels,
        KERNEL: tl.constexpr, SPAN: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr,
    ):  # fmt: skip
        channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
        j = tl.program_id(2)
        shift = j - (KERNEL - 1)
        found = tl.zeros((CHANNELS,), dtype=tl.float32)
        for start in range(0, SPAN, TOKENS):
            token = tl.program_id(0) * SPAN + start + tl.arange(0, TOKENS)
            inside = ((token < total) & (token % n + shift >= 0))[:, None] & (channel < channels)[None, :]
            at = token.to(tl.int64)[:, None] * channels + channel[None, :]
            grad = tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
            x = tl.load(x_ptr + at + shift * channels, mask=inside, other=0.0).to(tl.float32)
            found += tl.sum(grad * x, axis=0)
        out = (tl.program_id(0) * channels + channel) * KERNEL + j
        tl.store(parts_ptr + out, found, mask=channel < channels)

    return shifted, taps, triton
