"""All Euler steps of the flow head in one launch: torch reference, Triton, dispatch by device.

Four steps of a small MLP for one token are some sixty operators on a few hundred numbers each: on a GPU they cost their
launches. Here one program follows one token from noise to speech; between layers its vector passes through a scratch
line of its own. The modulation depends on the step but not on `x`, so it comes in ready for all steps.

Source: `FlowHead` in `tml_lab.model.flow` (MAR's `SimpleMLPAdaLN`, arXiv 2406.11838).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

BLOCK_ROWS = 16
"""Weight rows that are read at once: no function of the batch."""
LN_EPS = 1e-5


@dataclass(frozen=True)
class FlowLayers:
    """The head's layers: `embed [width, n_out]`, `up, down [depth, width, width]`, `offset [depth, 3 * width]`, `out
    [n_out, width]`; each but `offset` with its bias."""

    embed: Tensor
    embed_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor
    offset: Tensor
    out: Tensor
    out_bias: Tensor

    def to(self, dtype: torch.dtype) -> FlowLayers:
        """The same layers in another dtype."""
        return FlowLayers(**{name: tensor.to(dtype) for name, tensor in vars(self).items()})


def flow_launch(x: Tensor, modulation: Tensor, layers: FlowLayers) -> Tensor:
    """Follow the velocity from `x` by as many Euler steps as `modulation` has entries.

    Args:
        x: `[n, n_out]`, the noise; modulation: `[steps, n, 5 * width]`, shift, scale and gate of the blocks, then shift
            and scale of the output; layers: see `FlowLayers`.

    Returns: `[n, n_out]`. Each token's bits are its own: no sum knows how many tokens there are.

    Raises ValueError when shapes do not fit.
    """
    width = layers.embed.shape[0]
    if modulation.ndim != 3 or modulation.shape[1:] != (len(x), 5 * width) or x.shape[1:] != layers.embed.shape[1:]:
        raise ValueError(
            f"flow_launch: x [n, n_out] and modulation [steps, n, 5 * width], got x {tuple(x.shape)}, modulation "
            f"{tuple(modulation.shape)} and embed {tuple(layers.embed.shape)}."
        )
    if x.is_cuda and triton_available() and not torch.is_grad_enabled():
        return flow_launch_triton(x, modulation, layers)
    return flow_launch_reference(x, modulation, layers)


def flow_launch_reference(x: Tensor, modulation: Tensor, layers: FlowLayers) -> Tensor:
    """What `flow_launch` computes, by torch (same arguments); differentiable, any floating dtype."""
    width, depth, steps = layers.embed.shape[0], len(layers.up), len(modulation)
    for at in modulation:  # [n, 5 * width]
        h = F.linear(x, layers.embed, layers.embed_bias)  # [n, width]
        for i in range(depth):
            shift, scale, gate = (at[:, : 3 * width] + layers.offset[i]).chunk(3, dim=1)  # three [n, width]
            y = F.layer_norm(h, (width,), eps=LN_EPS) * (1 + scale) + shift
            y = F.linear(F.silu(F.linear(y, layers.up[i], layers.up_bias[i])), layers.down[i], layers.down_bias[i])
            h = h + gate * y
        shift, scale = at[:, 3 * width :].chunk(2, dim=1)  # two [n, width]
        y = F.layer_norm(h, (width,), eps=LN_EPS) * (1 + scale) + shift
        x = x + F.linear(y, layers.out, layers.out_bias) / steps  # [n, n_out]
    return x


def flow_launch_triton(x: Tensor, modulation: Tensor, layers: FlowLayers) -> Tensor:
    """One program a token, all steps. CUDA tensors, or Triton's interpreter. Sums are float32. No gradient."""
    kernel, triton = _build_kernel()
    (n, n_out), width, depth = x.shape, layers.embed.shape[0], len(layers.up)
    state = x.float().contiguous().clone()  # [n, n_out]
    scratch = torch.empty(n, 2, max(width, n_out), device=x.device)  # the layers' vectors pass through here
    parts = [t.contiguous() for t in vars(layers).values()]
    if n:
        block = triton.next_power_of_2(max(width, n_out))
        kernel[(n,)](
            state, modulation.contiguous(), scratch, *parts, n, len(modulation), width, n_out, depth,
            1.0 / len(modulation), LN_EPS, scratch.shape[2], BLOCK_ROWS, block,
        )  # fmt: skip
    return state.to(x.dtype)


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    global product, modulated  # Triton looks helpers up among a module's own names
    import triton
    import triton.language as tl

    @triton.jit
    def product(w_ptr, bias_ptr, x, line_ptr, rows, cols, ROWS: tl.constexpr, BLOCK: tl.constexpr):  # pyright: ignore
        """`weight [rows, cols] @ x + bias`, through the scratch line, as a whole vector again."""
        column = tl.arange(0, BLOCK)
        tl.debug_barrier()  # whoever still reads the line reads the earlier vector
        for start in range(0, rows, ROWS):
            row = start + tl.arange(0, ROWS)
            there = (row < rows)[:, None] & (column < cols)[None, :]
            w = tl.load(w_ptr + row[:, None] * cols + column[None, :], mask=there, other=0.0).to(tl.float32)
            b = tl.load(bias_ptr + row, mask=row < rows, other=0.0).to(tl.float32)
            tl.store(line_ptr + row, tl.sum(w * x[None, :], axis=1) + b, mask=row < rows)
        tl.debug_barrier()
        return tl.load(line_ptr + column, mask=column < rows, other=0.0)

    @triton.jit
    def modulated(h, shift, scale, inside, width, eps):  # pyright: ignore
        """Layer norm without gain, shifted and scaled; 0 beyond the width."""
        mean = tl.sum(h, axis=0) / width
        centred = tl.where(inside, h - mean, 0.0)
        scale = centred * tl.rsqrt(tl.sum(centred * centred, axis=0) / width + eps) * (1.0 + scale)
        return tl.where(inside, scale + shift, 0.0)

    @triton.jit
    def kernel(  # pyright: ignore
        x_ptr, mod_ptr, scratch_ptr, embed, embed_bias, up, up_bias, down, down_bias, offset, out, out_bias,
        n, steps, width, n_out, depth, share, eps, line, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        token = tl.program_id(0)
        column = tl.arange(0, BLOCK)
        inside, outside = column < width, column < n_out
        one, two = scratch_ptr + token * 2 * line, scratch_ptr + (token * 2 + 1) * line
        x = tl.load(x_ptr + token * n_out + column, mask=outside, other=0.0)
        for step in range(steps):
            mod = mod_ptr + (step * n + token) * 5 * width + column
            h = product(embed, embed_bias, x, one, width, n_out, ROWS, BLOCK)
            for i in range(depth):
                own = offset + i * 3 * width + column
                shift = tl.load(mod, mask=inside, other=0.0).to(tl.float32) + tl.load(own, mask=inside, other=0.0)
                scale = tl.load(mod + width, mask=inside, other=0.0).to(tl.float32)
                scale += tl.load(own + width, mask=inside, other=0.0)
                gate = tl.load(mod + 2 * width, mask=inside, other=0.0).to(tl.float32)
                gate += tl.load(own + 2 * width, mask=inside, other=0.0)
                y = modulated(h, shift, scale, inside, width, eps)
                y = product(up + i * width * width, up_bias + i * width, y, two, width, width, ROWS, BLOCK)
                y = y * tl.sigmoid(y)
                y = product(down + i * width * width, down_bias + i * width, y, one, width, width, ROWS, BLOCK)
                h += gate * y
            shift = tl.load(mod + 3 * width, mask=inside, other=0.0).to(tl.float32)
            scale = tl.load(mod + 4 * width, mask=inside, other=0.0).to(tl.float32)
            y = modulated(h, shift, scale, inside, width, eps)
            x += share * product(out, out_bias, y, two, n_out, width, ROWS, BLOCK)
        tl.store(x_ptr + token * n_out + column, x, mask=outside)

    return kernel, triton
