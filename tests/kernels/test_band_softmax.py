"""Softmax over a band: against float64, with what lies outside the band poisoned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

kernels = pytest.importorskip("tml_kernels.band_softmax", reason="Numba does not run here")

BLOCK = 8


def bits(x: Tensor) -> np.ndarray:
    return x.view(torch.uint16).numpy()


def columns(rows: int, window: int, block_index: int) -> Tensor:
    """Which columns each row may see: `[rows, window + BLOCK]` bool."""
    place = torch.arange(rows)[:, None] % BLOCK
    column = torch.arange(window + BLOCK)[None]
    band = (column > place) & (column <= place + window)
    return band & (column - window + block_index * BLOCK >= 0)


def bent(bias: Tensor, window: int) -> Tensor:
    """A bias by band column `[rows, window]` -> by score column `[rows, window + BLOCK]`, zero outside."""
    out = torch.zeros(len(bias), window + BLOCK, dtype=bias.dtype)
    for r in range(len(bias)):
        first = r % BLOCK + 1
        out[r, first : first + window] = bias[r]
    return out


@pytest.mark.parametrize(("window", "n_blocks", "group"), [(16, 4, 2), (8, 3, 1), (24, 3, 3)])
def test_the_pattern_and_its_gradient(window: int, n_blocks: int, group: int) -> None:
    generator = torch.Generator().manual_seed(window)
    rows = group * BLOCK
    scores = (4 * torch.randn(2 * n_blocks, rows, window + BLOCK, generator=generator)).bfloat16()
    bias = torch.randn(2 * n_blocks, rows, window, generator=generator).bfloat16()
    grad = torch.randn(2 * n_blocks, rows, window + BLOCK, generator=generator).bfloat16()
    pattern, poisoned = scores.clone(), grad.clone()
    for i in range(2 * n_blocks):
        unseen = ~columns(rows, window, i % n_blocks)
        pattern[i][unseen] = torch.nan
        poisoned[i][unseen & (bent(torch.ones(rows, window), window) == 0)] = torch.nan
    kernels.softmax_rows(bits(pattern), bits(bias), BLOCK, n_blocks, window)
    grad_bias = torch.full_like(bias, torch.nan)
    kernels.softmax_rows_backward(bits(pattern), bits(poisoned), bits(grad_bias), BLOCK)
    for i in range(2 * n_blocks):
        seen = columns(rows, window, i % n_blocks)
        want = (scores[i].double() + bent(bias[i].double(), window)).masked_fill(~seen, -torch.inf).softmax(-1)
        assert (pattern[i].double() - want).norm() < 4e-3 * want.norm() and not pattern[i][~seen].any()
        p, g = pattern[i].double(), grad[i].double()  # of the pattern as it was rounded
        slope = p * (g - (p * g).sum(-1, keepdim=True))
        assert (poisoned[i].double() - slope).norm() < 4e-3 * slope.norm()
        assert torch.equal(bent(grad_bias[i], window), poisoned[i])


LAUNCH = """
from tml_kernels.band_launch import softmax_rows, softmax_rows_backward, softmax_rows_reference
for window, n_blocks, group in ((16, 4, 2), (8, 3, 1), (24, 3, 3)):
    block = 8
    rows, width = group * block, window + block
    scores = (4 * torch.randn(2 * n_blocks, rows, width)).to(half).to(device)
    bias = torch.randn(2 * n_blocks, rows, window).to(half).to(device)
    grad = torch.randn(2 * n_blocks, rows, width).to(half).to(device)
    want = softmax_rows_reference(scores.double(), bias.double(), block, n_blocks)
    first = torch.arange(rows, device=device)[:, None] % block + 1
    column = torch.arange(width, device=device)
    band = ((column >= first) & (column < first + window)).expand(2 * n_blocks, -1, -1)
    seen = want != 0
    pattern, slope = scores.masked_fill(~seen, float("nan")), grad.masked_fill(~band, float("nan"))
    softmax_rows(pattern, bias, block, n_blocks)
    assert relative_error(pattern, want) < 4e-3 and not pattern[~seen].any(), relative_error(pattern, want)
    grad_bias = torch.full_like(bias, float("nan"))
    p, g = pattern.double(), grad.double().masked_fill(~band, 0.0)
    exact = p * (g - (p * g).sum(-1, keepdim=True))
    softmax_rows_backward(pattern, slope, grad_bias, block)
    assert relative_error(slope, exact) < 4e-3 and not slope[~band].any(), relative_error(slope, exact)
    assert torch.equal(grad_bias.flatten(), slope[band])
"""


def test_triton_does_the_same(check_kernel) -> None:
    check_kernel(LAUNCH)
