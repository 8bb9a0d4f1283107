"""ShortConv over a few new tokens in one launch: torch reference, Triton, dispatch by device.

Source: `InklingShortConvolution` (see `tml_lab.model.short_conv.ShortConv`).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

BLOCK = 128
"""Channels of one program; each channel is added by itself."""


def short_conv(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """`y[t] = x[t] + sum_j weight[:, j] * x[t - kernel + 1 + j]`, in float32.

    Args:
        x: `[n, channels]`; weight: `[channels, kernel]`; tail: `[kernel - 1, channels]`, the last inputs before x.

    Returns: y `[n, channels]` and the tail to go on with. Raises ValueError when shapes do not fit.
    """
    if tail.shape != (weight.shape[1] - 1, x.shape[1]) or weight.shape[0] != x.shape[1]:
        raise ValueError(
            f"short_conv: x [n, channels], weight [channels, kernel], tail [kernel - 1, channels]; got x "
            f"{tuple(x.shape)}, weight {tuple(weight.shape)}, tail {tuple(tail.shape)}."
        )
    if x.is_cuda and triton_available() and not torch.is_grad_enabled():
        return short_conv_triton(x, weight, tail)
    return short_conv_reference(x, weight, tail)


def short_conv_reference(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """Plain torch version of `short_conv` (same arguments); differentiable, any device."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    padded = torch.cat([tail.to(x.dtype), x])  # [kernel - 1 + n, channels]
    y = x.to(wide) + (padded.unfold(0, weight.shape[1], 1).to(wide) * weight.to(wide)).sum(-1)
    return y.to(x.dtype), padded[len(x) :]


def short_conv_triton(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """A program for each token and some channels. CUDA tensors, or Triton's interpreter. No gradient."""
    kernel, triton = _build_kernel()
    n, channels = x.shape
    out, moved = torch.empty_like(x, memory_format=torch.contiguous_format), torch.empty_like(tail)
    if not n:
        return out, tail.clone()
    kernel[(n, triton.cdiv(channels, BLOCK))](
        x.contiguous(), weight.contiguous(), tail.contiguous(), out, moved, n, channels, weight.shape[1], BLOCK
    )
    return out, moved


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(  # pyright: ignore
        x_ptr, weight_ptr, tail_ptr, out_ptr, moved_ptr, n, channels, KERNEL: tl.constexpr, BLOCK: tl.constexpr
    ):
        token = tl.program_id(0)
        channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = channel < channels
        total = tl.load(x_ptr + token * channels + channel, mask=inside, other=0.0).to(tl.float32)
        for j in tl.static_range(KERNEL):  # pyright: ignore
            at = token + j - (KERNEL - 1)  # below 0: among the tail
            new = tl.load(x_ptr + at * channels + channel, mask=inside & (at >= 0), other=0.0).to(tl.float32)
            line = tail_ptr + (at + KERNEL - 1) * channels
            old = tl.load(line + channel, mask=inside & (at < 0), other=0.0).to(tl.float32)
            total += (new + old) * tl.load(weight_ptr + channel * KERNEL + j, mask=inside, other=0.0).to(tl.float32)
        tl.store(out_ptr + token * channels + channel, total.to(out_ptr.dtype.element_ty), mask=inside)
        first = inside & (token == 0)  # one token's program leaves the tail to go on with
        for j in tl.static_range(KERNEL - 1):  # pyright: ignore
            at = n + j - (KERNEL - 1)
            new = tl.load(x_ptr + at * channels + channel, mask=first & (at >= 0), other=0.0).to(tl.float32)
            line = tail_ptr + (at + KERNEL - 1) * channels
            old = tl.load(line + channel, mask=first & (at < 0), other=0.0).to(tl.float32)
            tl.store(moved_ptr + j * channels + channel, (new + old).to(moved_ptr.dtype.element_ty), mask=first)

    return kernel, triton
