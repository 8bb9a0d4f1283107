"""Attention in splits that stand still: values, and the bits of a query alone, in a prefill, and past a cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tml_kernels.split_attention import (
    merge,
    partial_softmax,
    split_attention,
    split_attention_reference,
    split_bounds,
)

pytest.importorskip("numba", reason="Numba does not run here")


def scene(n: int, keys: int, d: int, seed: int, first: int = 0, window: int = 10_000) -> tuple[Tensor, ...]:
    """Queries at the last `n` of `first + keys` positions, each seeing `window` positions back."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(rows, d, generator=generator) for rows in (n, keys, keys))
    bias = torch.randn(n, keys, generator=generator)
    at = torch.arange(first + keys - n, first + keys)[:, None]
    behind = at - torch.arange(first, first + keys)
    return q, k, v, bias.masked_fill((behind < 0) | (behind >= window), -torch.inf)


def relative_error(actual: Tensor, exact: Tensor) -> float:
    return float((actual.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("n, keys, d, first", [(1, 1, 1, 0), (3, 70, 5, 0), (9, 200, 64, 37), (40, 90, 16, 1000)])
def test_it_is_softmax_attention(n: int, keys: int, d: int, first: int) -> None:
    q, k, v, bias = scene(n, keys, d, seed=n, first=first)
    exact = split_attention_reference(q.double(), k.double(), v.double(), bias.double())
    assert relative_error(split_attention(q, k, v, bias, first, split=32), exact) < 1e-6


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 20), st.integers(0, 99), st.integers(1, 60))
def test_decode_is_prefill(keys: int, n: int, first: int, window: int) -> None:
    """A query has the same bits alone, when only its own past is there, as among others whose future is there."""
    n = min(n, keys)
    q, k, v, bias = scene(n, keys, 8, seed=keys, first=first, window=window)
    whole = split_attention(q, k, v, bias, first, split=16)
    for i in range(n):
        end = keys - n + i + 1  # keys written when this query was the newest
        start = max(0, end - window)  # keys a ring would still hold
        alone = split_attention(q[i : i + 1], k[start:end], v[start:end], bias[i : i + 1, start:end], first + start, 16)
        assert torch.equal(alone[0], whole[i])


def test_cuts_that_move_with_the_batch_break_it() -> None:
    """What a library does: as many splits as it has room for. The same query, other bits."""
    q, k, v, bias = scene(1, 300, 16, seed=1)
    outcomes = {split_attention(q, k, v, bias, 0, split).numpy().tobytes() for split in (32, 48, 64, 100, 300)}
    assert len(outcomes) > 1


def test_bounds_stand_at_absolute_positions() -> None:
    assert split_bounds(0, 0, 16) == []
    assert split_bounds(0, 16, 16) == [(0, 16)] and split_bounds(16, 17, 16) == [(16, 32), (32, 33)]
    for first in range(40):
        for n in range(40):
            bounds = split_bounds(first, n, 16)
            assert [p for a, b in bounds for p in range(a, b)] == list(range(first, first + n))
            assert all(a // 16 == (b - 1) // 16 for a, b in bounds)


def test_merging_is_softmax_over_both_and_forgives_an_empty_side() -> None:
    scores, values = torch.randn(3, 20), torch.randn(20, 4)
    scores[1, :10] = -torch.inf
    scores[2] = -torch.inf
    both = merge(partial_softmax(scores[:, :10], values[:10]), partial_softmax(scores[:, 10:], values[10:]))
    out = both[2] / both[1]
    exact = torch.softmax(scores[:2].double(), -1) @ values.double()
    assert relative_error(out[:2], exact) < 1e-6
    assert float(both[1][2]) == 0.0 and torch.equal(both[2][2], torch.zeros(4))


def test_nothing_seen_is_zero_and_shapes_are_checked() -> None:
    q, k, v, _ = scene(2, 5, 4, seed=0)
    assert torch.equal(split_attention(q, k, v, torch.full((2, 5), -torch.inf)), torch.zeros(2, 4))
    assert torch.equal(split_attention(q, k[:0], v[:0], torch.zeros(2, 0)), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"bias \[n, keys\]"):
        split_attention(q, k, v, torch.zeros(2, 4))


CHECK = """
from tml_kernels.split_attention import split_attention_reference, split_attention_triton
for n, keys, d, first, split in ((1, 1, 3, 0, 16), (5, 70, 20, 9, 16), (3, 100, 64, 40, 32)):
    q, k, v = (torch.randn(rows, d, device=device) for rows in (n, keys, keys))
    bias = torch.randn(n, keys, device=device)
    at = torch.arange(keys - n, keys, device=device)[:, None]
    bias = bias.masked_fill(torch.arange(keys, device=device) > at, -torch.inf)
    out = split_attention_triton(q, k, v, bias, first, split)
    exact = split_attention_reference(q.double(), k.double(), v.double(), bias.double())
    assert relative_error(out, exact) < 1e-6, (n, keys, relative_error(out, exact))
    for i in range(n):
        end = keys - n + i + 1
        alone = split_attention_triton(q[i : i + 1], k[:end], v[:end], bias[i : i + 1, :end], first, split)
        assert torch.equal(alone[0], out[i]), "decode is not prefill"
unseen = torch.full((n, keys), -torch.inf, device=device)
assert torch.equal(split_attention_triton(q, k, v, unseen), torch.zeros_like(q))
"""


def test_triton_agrees_and_decode_is_prefill(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
