"""Root-mean-square normalisation: torch reference, Triton kernel, dispatch by device.

Source: Zhang & Sennrich 2019, arXiv 1910.07467; semantics of `InklingRMSNorm` in Hugging Face `transformers`:
the statistics are float32 whatever the input's dtype, the normalised value is rounded to the input's dtype
*before* the weight multiplies it.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_FUSED_WIDTH = 16384
"""Widest row the kernel keeps in one program; wider rows use the reference."""


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Scale each row of `x` to unit root mean square, then by `weight`.

    Args:
        x: `[..., d]`, any floating dtype.
        weight: `[d]`, one gain per channel.
        eps: added to the mean square; no unit.

    Returns:
        `[..., d]` in the dtype that `weight * x` has.

    Raises:
        ValueError: `weight` is not a vector as long as the last dimension of `x`.

    The Triton kernel runs on CUDA tensors when no gradient is asked for; under autocast there torch's fused norm, which
    rounds once, after the weight; everything else takes the reference.
    Row i's result depends on row i alone and is summed in an order fixed by `d`, never by the batch.
    """
    if weight.ndim != 1 or x.ndim == 0 or x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"rms_norm: weight must be a vector as long as x's last dimension, got x {tuple(x.shape)} "
            f"and weight {tuple(weight.shape)}; pass weight of shape [d] for x of shape [..., d]."
        )
    if takes_kernel(x, weight):
        return rms_norm_triton(x, weight, eps)
    if x.is_cuda and torch.is_autocast_enabled("cuda"):  # training in half precision: torch's own, with its gradient
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps)
    return rms_norm_reference(x, weight, eps)


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Plain torch version of `rms_norm` (same arguments); differentiable, any device."""
    hidden = x.float()
    mean_square = hidden.pow(2).mean(-1, keepdim=True)  # [..., 1]
    hidden = hidden * torch.rsqrt(mean_square + eps)
    return weight * hidden.to(x.dtype)


def takes_kernel(x: Tensor, weight: Tensor) -> bool:
    """Whether `rms_norm` would launch the Triton kernel for these tensors."""
    if not (x.is_cuda and weight.is_cuda) or x.numel() == 0 or x.shape[-1] > MAX_FUSED_WIDTH:
        return False
    if x.dtype == torch.float64 or weight.dtype == torch.float64:
        return False
    needs_grad = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return not needs_grad and triton_available()


def rms_norm_triton(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Triton version of `rms_norm` (same arguments); no gradient. CUDA tensors, or Triton's interpreter."""
    kernel, triton = _build_kernel()
    d = x.shape[-1]
    rows = x.reshape(-1, d).contiguous()  # [n, d]
    out_dtype = torch.promote_types(x.dtype, weight.dtype)
    out = torch.empty(rows.shape, dtype=out_dtype, device=x.device)  # [n, d]
    # A function of d only: a size tuned to the number of rows would change the order of additions.
    block = triton.next_power_of_2(d)
    warps = 4 if block <= 2048 else 8
    kernel[(rows.shape[0],)](rows, weight.contiguous(), out, d, eps, BLOCK=block, num_warps=warps)
    return out.reshape(x.shape)  # [..., d]


@functools.cache
def triton_available() -> bool:
    """Whether Triton is installed (it ships for Linux only)."""
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(x_ptr, weight_ptr, out_ptr, d, eps, BLOCK: tl.constexpr):  # pyright: ignore
        row = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        inside = column < d
        stored = tl.load(x_ptr + row * d + column, mask=inside, other=0.0)
        x = stored.to(tl.float32)
        mean_square = tl.sum(x * x, axis=0) / d
        normed = (x * tl.rsqrt(mean_square + eps)).to(stored.dtype)
        weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
        # A product of two half-precision numbers is exact in float32: rounding it once is their own product.
        scaled = weight * normed.to(tl.float32)
        tl.store(out_ptr + row * d + column, scaled.to(out_ptr.dtype.element_ty), mask=inside)

    return kernel, triton
