"""Conv, residual and norm in one: the model's own modules, streaming, Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tml_kernels.residual import add_branch, add_branch_reference
from tml_lab.model.norm import RMSNorm
from tml_lab.model.short_conv import ShortConv


def test_it_is_the_models_conv_residual_and_norm() -> None:
    conv, norm = ShortConv(24, 4), RMSNorm(24)
    with torch.no_grad():
        conv.weight.normal_()
        norm.weight.normal_()
    x, branch, tail = torch.randn(9, 24), torch.randn(9, 24), torch.randn(3, 24)
    resid, normed, moved = add_branch(x, branch, conv.weight, tail, norm.weight)
    y, their_tail = conv(branch[None], tail[None])
    torch.testing.assert_close(resid, x + y[0])
    torch.testing.assert_close(normed, norm(x + y[0]))
    assert torch.equal(moved, their_tail[0])


def test_pieces_give_the_bits_of_the_whole() -> None:
    x, branch, weight, gain = torch.randn(11, 24), torch.randn(11, 24), torch.randn(24, 4), torch.randn(24)
    whole = add_branch_reference(x, branch, weight, torch.zeros(3, 24), gain)
    tail, pieces = torch.zeros(3, 24), []
    for a, b in zip(x.split([1, 1, 7, 2]), branch.split([1, 1, 7, 2]), strict=True):
        *out, tail = add_branch_reference(a, b, weight, tail, gain)
        pieces.append(out)
    for parts, one in zip(zip(*pieces, strict=True), whole[:2], strict=True):
        assert torch.equal(torch.cat(parts), one)
    assert torch.equal(tail, whole[2])


def test_shapes_are_checked() -> None:
    x = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"tail \[kernel - 1, d\]"):
        add_branch(x, x, torch.zeros(4, 4), torch.zeros(2, 4), torch.ones(4))


CHECK = """
from tml_kernels.residual import add_branch_reference, add_branch_triton
for dtype, bound in ((torch.float32, 1e-6), (half, 2e-3 * coarse)):
    for n, d, kernel in ((1, 3, 4), (5, 80, 4), (3, 257, 2)):
        x, branch = (torch.randn(n, d).to(device, dtype) for _ in range(2))
        weight, gain = torch.randn(d, kernel).to(device, dtype), torch.randn(d).to(device, dtype)
        tail = torch.randn(kernel - 1, d).to(device, dtype)
        ours = add_branch_triton(x, branch, weight, tail, gain)
        exact = add_branch_reference(*(t.double() for t in (x, branch, weight, tail, gain)))
        assert all(a.dtype == dtype and relative_error(a, b) < bound for a, b in zip(ours, exact)), (dtype, n, d)
        for i in range(n):
            past = torch.cat([tail, branch])[i : i + kernel - 1]
            alone = add_branch_triton(x[i : i + 1], branch[i : i + 1], weight, past, gain)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone[:2], ours[:2]))
"""


def test_triton_agrees_row_by_row(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
