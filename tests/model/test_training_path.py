"""The training path's shortcuts compute what the plain path computes: attention in blocks, experts of one length."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tml_lab.config import preset
from tml_lab.model.attention import Attention
from tml_lab.model.blocked import BLOCK, fold_windows, windows
from tml_lab.model.dispatch import places
from tml_lab.model.moe import MoE


def gradients(part: nn.Module, x: Tensor, training: bool, low: bool, *more: object) -> list[Tensor]:
    """Output and all gradients of a part."""
    part.train(training).zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        out = part(x, *more)
    (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    assert x.grad is not None
    return [out.detach().float(), x.grad, *(p.grad for p in part.parameters() if p.grad is not None)]


@pytest.mark.parametrize("layer", [0, 4])
@pytest.mark.parametrize("n", [BLOCK, 5 * BLOCK])
def test_attention_in_blocks_is_as_near_to_float32_as_the_square(layer: int, n: int) -> None:
    torch.manual_seed(layer)
    attention = Attention(preset("nano"), layer)
    for conv in (attention.k_conv, attention.v_conv):
        nn.init.normal_(conv.weight, std=0.2)
    x, pos = torch.randn(2, n, 256), torch.arange(n)[None]
    blocked = gradients(attention, x, True, True, None, pos)
    square = gradients(attention, x, False, True, None, pos)
    exact = gradients(attention, x, False, False, None, pos)
    for one, other, want in zip(blocked, square, exact, strict=True):
        near = float((other - want).norm() / want.norm())
        assert float((one - want).norm() / want.norm()) < max(1.5 * near, 2e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_folding_is_the_transpose_of_windows(rows: int, n_blocks: int, reach: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, n_blocks * BLOCK, 4, generator=generator, dtype=torch.float64)
    seen = windows(x, n_blocks, reach * BLOCK)
    y = torch.randn(seen.shape, generator=generator, dtype=torch.float64)
    back = fold_windows(y, rows, n_blocks, reach * BLOCK)
    assert torch.isclose((seen * y).sum(), (x * back).sum())


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(2, 6), st.integers(1, 2), st.integers(0, 99))
def test_every_pair_has_a_place_of_its_own_among_its_experts_rows(n: int, n_experts: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(n, n_experts, generator=generator).argsort(1)[:, :k]
    place, capacity = places(chosen, n_experts)
    assert len(place.unique()) == n * k
    assert torch.equal(place // capacity, chosen)
    assert capacity - 128 < int(torch.bincount(chosen.flatten()).max()) <= capacity


def test_padded_experts_are_the_sorted_ones() -> None:
    torch.manual_seed(0)
    moe = MoE(preset("nano"))
    nn.init.normal_(moe.down, std=0.05)
    nn.init.normal_(moe.shared_down, std=0.05)
    x = torch.randn(2, 150, 256)
    for one, other in zip(gradients(moe, x, True, False), gradients(moe, x, False, False), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
