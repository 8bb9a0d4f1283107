"""Attention as training does it: blocks of queries, each against the keys in its reach and no others.

The same function as `Attention`'s own square, in bfloat16, without the scores that no query may see. Products go to
the processor's matrix unit; bias, mask and softmax are one pass, compiled for a CPU (`tml_kernels.band_softmax`) or
launched on a GPU (`tml_kernels.band_launch`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels import band_launch
from tml_kernels.rmsnorm import triton_available

BLOCK = 128  # queries; rows of a batch are a multiple of it


@cache
def band_kernels() -> Any | None:
    """The compiled softmax and its gradient, or None where Numba does not run."""
    try:
        from tml_kernels import band_softmax

        return band_softmax
    except (ImportError, RuntimeError):
        return None


@torch.compiler.assume_constant_result
def can_band(device_type: str) -> bool:
    """Whether this machine has a band softmax for tensors on such a device."""
    return triton_available() if device_type == "cuda" else device_type == "cpu" and band_kernels() is not None


def band_softmax(scores: Tensor, bias: Tensor, n_blocks: int) -> None:
    """`scores [rows * n_blocks, group * BLOCK, window + BLOCK]` become the pattern, in place."""
    if scores.is_cuda:
        band_launch.softmax_rows(scores, bias, BLOCK, n_blocks)
    else:
        kernels: Any = band_kernels()
        kernels.softmax_rows(bits(scores), bits(bias), BLOCK, n_blocks, bias.shape[2])


def band_softmax_backward(pattern: Tensor, grad: Tensor, grad_bias: Tensor) -> None:
    """The pattern's `grad` becomes the scores', in place; `grad_bias [..., window]` receives its band."""
    if grad.is_cuda:
        band_launch.softmax_rows_backward(pattern, grad, grad_bias, BLOCK)
    else:
        kernels: Any = band_kernels()
        kernels.softmax_rows_backward(bits(pattern), bits(grad), bits(grad_bias), BLOCK)


def bits(x: Tensor) -> Any:
    """A bfloat16 tensor's memory as a NumPy array of uint16."""
    return x.view(torch.uint16).numpy()


def windows(x: Tensor, n_blocks: int, window: int) -> Tensor:
    """`x [rows, n, d]` -> the keys each block may see, zeros before the start.

    `[rows * n_blocks, window + BLOCK, d]`.
    """
    rows, _, d = x.shape
    padded = F.pad(x, (0, 0, window, 0))  # [rows, window + n, d]
    stride = padded.stride()
    view = padded.as_strided((rows, n_blocks, window + BLOCK, d), (stride[0], BLOCK * stride[1], stride[1], 1))
    return view.reshape(rows * n_blocks, window + BLOCK, d)


def fold_windows(grad: Tensor, rows: int, n_blocks: int, window: int) -> Tensor:
    """The transpose of `windows`: what every block says of a key, added up: `[rows, n, d]`."""
    d = grad.shape[-1]
    pieces = grad.view(rows, n_blocks, window // BLOCK + 1, BLOCK, d)
    total = grad.new_zeros(rows, n_blocks + window // BLOCK, BLOCK, d)
    for j in range(window // BLOCK + 1):
        total[:, j : j + n_blocks] += pieces[:, :, j]
    return total[:, window // BLOCK :].reshape(rows, -1, d)


class BandAttention(torch.autograd.Function):
    """`q [rows * blocks, group * BLOCK, d]` (scaled), `k, v [rows, n, d]`, `bias [as q, window]`, all bfloat16.

    Returns what each query gathers, shaped as q.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Scores, pattern, gathering."""
        window, n_blocks = bias.shape[2], k.shape[1] // BLOCK
        keys, values = windows(k, n_blocks, window), windows(v, n_blocks, window)
        pattern = torch.bmm(q, keys.transpose(1, 2))  # [rows * blocks, group * BLOCK, window + BLOCK]
        band_softmax(pattern, bias.contiguous(), n_blocks)
        ctx.save_for_backward(q, keys, values, pattern)
        ctx.sizes = (k.shape[0], n_blocks, window)
        return torch.bmm(pattern, values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same backwards."""
        q, keys, values, pattern = ctx.saved_tensors
        rows, n_blocks, window = ctx.sizes
        grad = grads[0].contiguous()
        grad_v = fold_windows(torch.bmm(pattern.transpose(1, 2), grad), rows, n_blocks, window)
        scores = torch.bmm(grad, values.transpose(1, 2))  # the pattern's gradient, then the scores'
        grad_bias = scores.new_empty(*scores.shape[:2], window)
        band_softmax_backward(pattern, scores, grad_bias)
        grad_k = fold_windows(torch.bmm(scores.transpose(1, 2), q), rows, n_blocks, window)
        return torch.bmm(scores, keys), grad_k, grad_v, grad_bias


@torch.compiler.disable
def blocked_attention(q: Tensor, k: Tensor, v: Tensor, r: Tensor, rel: Tensor, window: int) -> Tensor:
    """Causal attention inside `window` tokens with the relative bias `r @ rel`.

    `q [batch, heads, n, d_head]`, normalised and scaled; `k, v [batch, kv, n, d_head]`; `r [batch, heads, n, d_rel]`;
    `rel [d_rel, extent]`; n is a multiple of `BLOCK`. Returns `[batch, heads, n, d_head]` in bfloat16.
    """
    batch, heads, n, d = q.shape
    kv, n_blocks, low = k.shape[1], n // BLOCK, torch.bfloat16
    window = min(-(-window // BLOCK) * BLOCK, n)

    def in_blocks(x: Tensor) -> Tensor:  # [batch, heads, n, c] -> [batch * kv * blocks, group * BLOCK, c]
        x = x.to(low).view(batch, kv, heads // kv, n_blocks, BLOCK, x.shape[-1])
        return x.transpose(2, 3).reshape(batch * kv * n_blocks, heads // kv * BLOCK, x.shape[-1])

    profile = rel[:, :window].flip(1)  # column j is distance window - 1 - j
    profile = F.pad(profile, (window - profile.shape[1], 0)).to(low)  # no bias beyond the extent
    bias = torch.matmul(in_blocks(r), profile)  # [batch * kv * blocks, group * BLOCK, window]
    flat_k, flat_v = (x.to(low).reshape(batch * kv, n, d) for x in (k, v))
    out = BandAttention.apply(in_blocks(q), flat_k, flat_v, bias)
    out = out.view(batch, kv, n_blocks, heads // kv, BLOCK, d).transpose(2, 3)
    return out.reshape(batch, heads, n, d)
