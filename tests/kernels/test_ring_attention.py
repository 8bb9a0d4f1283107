"""Attention over a ring: the reference against plain attention over the whole past, Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tml_kernels.ring_attention import positions, ring_attention


@pytest.mark.parametrize(("sinks", "window"), [(0, 8), (3, 12)])
def test_the_ring_is_the_past_that_a_query_may_see(sinks: int, window: int) -> None:
    n, d, extent, slots = 3, 4, 6, sinks + window + 2
    past = torch.randn(2, 50, d).double()  # keys of all positions; the values are their squares
    for before in (0, 1, 5, 20, 47):
        q, bias = torch.randn(n, 4, d).double(), torch.randn(n, 4, extent).double()
        held = positions(torch.tensor([before + n - 1]), slots, sinks)
        k = past[:, held.clamp(min=0)].masked_fill((held < 0)[None, :, None], torch.nan)
        out = ring_attention(q, k, k.square(), bias, torch.tensor([before]), sinks, window)
        for i in range(n):
            at = before + i
            seen = [p for p in range(at + 1) if at - p < window or p < sinks]
            for h in range(4):
                keys = past[h // 2, seen]
                score = keys @ q[i, h] / d
                score += torch.tensor([bias[i, h, at - p] if at - p < extent else 0.0 for p in seen]).double()
                torch.testing.assert_close(out[i, h], score.softmax(0) @ keys.square())


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"bias \[n, heads, extent\]"):
        ring_attention(torch.zeros(1, 2, 4), torch.zeros(1, 9, 4), torch.zeros(1, 9, 4), torch.zeros(1, 3, 5),
                       torch.zeros(1, dtype=torch.long), 0, 8)  # fmt: skip


CHECK = """
from tml_kernels.ring_attention import ring_attention_reference, ring_attention_triton
scenes = ((1, 2, 1, 3, 0, 5, 5), (5, 4, 2, 20, 3, 150, 40), (2, 3, 3, 64, 0, 70, 70))
for dtype, bound in ((torch.float32, 2e-6 * coarse), (half, 2e-3 * coarse)):
    for n, heads, kv, d, sinks, window, extent in scenes:
        slots = sinks + window + 7
        for before in (0, 1, slots - 3, 3 * slots + 5):
            q = torch.randn(n, heads, d).to(device, dtype)
            k, v = (torch.randn(kv, slots, d).to(device, dtype) for _ in range(2))
            bias, pos = torch.randn(n, heads, extent).to(device, dtype), torch.tensor([before], device=device)
            k[:, before + n :], v[:, before + n :] = float("nan"), float("nan")  # not written yet, and not read
            out = ring_attention_triton(q, k, v, bias, pos, sinks, window)
            exact = ring_attention_reference(*(t.double() for t in (q, k, v, bias)), pos, sinks, window)
            apart = relative_error(out, exact)
            assert out.dtype == dtype and apart < bound, (dtype, n, before, apart)
"""


def test_triton_agrees_over_the_rings_end(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
