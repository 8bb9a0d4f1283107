"""After a branch: ShortConv, residual and the next RMSNorm in one launch. Torch reference, Triton, dispatch.

Between attention and experts stand three small operators that read and write the same few kilobytes: at decode size
they cost their launches. Source: `InklingShortConvolution`, `InklingRMSNorm` (see `tml_lab.model.backbone.Block`).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from tml_kernels.rmsnorm import MAX_FUSED_WIDTH, rms_norm_reference, triton_available

Added = tuple[Tensor, Tensor, Tensor]
"""The residual after the branch `[n, d]`, its norm `[n, d]`, the tail to go on with `[kernel - 1, d]`."""


def add_branch(x: Tensor, branch: Tensor, weight: Tensor, tail: Tensor, gain: Tensor, eps: float = 1e-6) -> Added:
    """`x + conv(branch)`, and the RMSNorm of it.

    Args:
        x: `[n, d]`, the residual before the branch; branch: `[n, d]`, what attention or experts said.
        weight: `[d, kernel]`, the ShortConv's taps; tail: `[kernel - 1, d]`, its last inputs, zeros at the start.
        gain: `[d]`, of the norm.

    Sums are float32 in one order per element, whatever `n`. Raises ValueError when shapes do not fit.
    """
    if x.shape != branch.shape or weight.shape[0] != x.shape[1] or tail.shape != (weight.shape[1] - 1, x.shape[1]):
        raise ValueError(
            f"add_branch: x and branch [n, d], weight [d, kernel], tail [kernel - 1, d]; got x {tuple(x.shape)}, "
            f"branch {tuple(branch.shape)}, weight {tuple(weight.shape)}, tail {tuple(tail.shape)}."
        )
    if x.is_cuda and triton_available() and not torch.is_grad_enabled() and x.shape[1] <= MAX_FUSED_WIDTH:
        return add_branch_triton(x, branch, weight, tail, gain, eps)
    return add_branch_reference(x, branch, weight, tail, gain, eps)


def add_branch_reference(
    x: Tensor, branch: Tensor, weight: Tensor, tail: Tensor, gain: Tensor, eps: float = 1e-6
) -> Added:
    """Plain torch version of `add_branch` (same arguments); differentiable, any device."""
    n, kernel = len(x), weight.shape[1]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    padded = torch.cat([tail.to(branch.dtype), branch])  # [kernel - 1 + n, d]
    y = branch.to(wide)
    for j in range(kernel):
        y = y + padded[j : j + n].to(wide) * weight[:, j].to(wide)
    resid = x + y.to(x.dtype)
    return resid, rms_norm_reference(resid, gain, eps), padded[n:]


def add_branch_triton(
    x: Tensor, branch: Tensor, weight: Tensor, tail: Tensor, gain: Tensor, eps: float = 1e-6
) -> Added:
    """One program a token; it reads the branch's last `kernel` inputs itself. CUDA tensors, or the interpreter."""
    kernel, triton = _build_kernel()
    n, d = x.shape
    if not n:
        return x, x, tail
    x, branch, tail = x.contiguous(), branch.contiguous(), tail.contiguous()
    resid, normed, moved = torch.empty_like(x), torch.empty_like(x), torch.empty_like(tail, dtype=branch.dtype)
    block = triton.next_power_of_2(d)
    kernel[(n,)](
        x, branch, tail, weight.contiguous(), gain.contiguous(), resid, normed, moved, n, d, eps,
        weight.shape[1], block, num_warps=4 if block <= 2048 else 8,
    )  # fmt: skip
    return resid, normed, moved


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(  # pyright: ignore
        x_ptr, branch_ptr, tail_ptr, weight_ptr, gain_ptr, resid_ptr, normed_ptr, moved_ptr, n, d, eps,
        KERNEL: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        token = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        inside = column < d
        total = tl.load(branch_ptr + token * d + column, mask=inside, other=0.0).to(tl.float32)
        for j in tl.static_range(KERNEL):  # pyright: ignore
            at = token + j - (KERNEL - 1)  # below 0: among the tail
            new = tl.load(branch_ptr + at * d + column, mask=inside & (at >= 0), other=0.0).to(tl.float32)
            line = tail_ptr + (at + KERNEL - 1) * d
            past = new + tl.load(line + column, mask=inside & (at < 0), other=0.0).to(tl.float32)
            total += past * tl.load(weight_ptr + column * KERNEL + j, mask=inside, other=0.0).to(tl.float32)
        first = inside & (token == 0)  # one token's program leaves the tail to go on with
        for j in tl.static_range(KERNEL - 1):  # pyright: ignore
            at = n + j - (KERNEL - 1)
            new = tl.load(branch_ptr + at * d + column, mask=first & (at >= 0), other=0.0).to(tl.float32)
            line = tail_ptr + (at + KERNEL - 1) * d
            past = new + tl.load(line + column, mask=first & (at < 0), other=0.0).to(tl.float32)
            tl.store(moved_ptr + j * d + column, past.to(moved_ptr.dtype.element_ty), mask=first)
        stored = tl.load(x_ptr + token * d + column, mask=inside, other=0.0)
        kind = stored.dtype
        # rounded where the separate operators round: the branch, the sum, and the value before the gain
        resid = (stored.to(tl.float32) + total.to(kind).to(tl.float32)).to(kind)
        wide = resid.to(tl.float32)
        normed = (wide * tl.rsqrt(tl.sum(wide * wide, axis=0) / d + eps)).to(kind)
        gain = tl.load(gain_ptr + column, mask=inside, other=0.0).to(tl.float32)
        tl.store(resid_ptr + token * d + column, resid, mask=inside)
        tl.store(normed_ptr + token * d + column, (gain * normed.to(tl.float32)).to(kind), mask=inside)

    return kernel, triton
