"""ShortConv in one launch: in pieces as in one, and the module's own numbers; Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tml_kernels.short_conv import short_conv
from tml_lab.model.short_conv import ShortConv


@torch.no_grad()
def test_it_is_the_modules_convolution() -> None:
    conv = ShortConv(6, 4)
    conv.weight.normal_()
    x, tail = torch.randn(5, 6), torch.randn(3, 6)
    want, want_tail = conv(x[None], tail[None])
    y, new_tail = short_conv(x, conv.weight, tail)
    torch.testing.assert_close(y, want[0])
    assert torch.equal(new_tail, want_tail[0])


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"tail \[kernel - 1, channels\]"):
        short_conv(torch.zeros(2, 6), torch.zeros(6, 4), torch.zeros(4, 6))


CHECK = """
from tml_kernels.short_conv import short_conv_reference, short_conv_triton
for dtype, bound in ((torch.float32, 1e-6), (half, 1e-3 * coarse)):
    for n, channels, kernel in ((1, 3, 4), (2, 130, 4), (7, 128, 2)):
        x, tail = torch.randn(n, channels).to(device, dtype), torch.randn(kernel - 1, channels).to(device, dtype)
        weight = torch.randn(channels, kernel).to(device, dtype)
        y, moved = short_conv_triton(x, weight, tail)
        exact, _ = short_conv_reference(x.double(), weight.double(), tail.double())
        assert y.dtype == dtype and relative_error(y, exact) < bound, (dtype, n, relative_error(y, exact))
        assert torch.equal(moved, torch.cat([tail, x])[n:])
        past = tail
        for i in range(n):
            alone, past = short_conv_triton(x[i : i + 1], weight, past)
            assert torch.equal(alone[0], y[i])
        assert torch.equal(past, moved)
"""


def test_triton_agrees_in_pieces(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
