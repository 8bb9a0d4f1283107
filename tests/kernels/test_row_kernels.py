"""Softmax, log-softmax, mean and bmm: values, edges, and that no row knows another; Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tml_kernels.bmm import bmm, bmm_reference
from tml_kernels.mean import mean, mean_reference
from tml_kernels.softmax import log_softmax, log_softmax_reference, softmax, softmax_reference

pytest.importorskip("numba", reason="Numba does not run here")
PAIRS = {"softmax": (softmax, softmax_reference), "log_softmax": (log_softmax, log_softmax_reference),
         "mean": (mean, mean_reference)}  # fmt: skip


@pytest.mark.parametrize("name", list(PAIRS))
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 1500), st.integers(0, 99))
def test_a_row_agrees_with_float64_and_is_the_same_alone(name: str, n: int, d: int, seed: int) -> None:
    ours, reference = PAIRS[name]
    x = 8 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    out, exact = ours(x), reference(x.double())
    assert (out.double() - exact).norm() <= 2e-6 * exact.norm() + 1e-6 * x.double().norm() * d**-0.5
    for i in range(0, n, 7):
        assert torch.equal(ours(x[i]), out[i])
    assert torch.equal(ours(x[::2]), out[::2])
    assert torch.equal(ours(x.T.contiguous().T), out)  # not contiguous


def test_what_is_not_seen_counts_nothing() -> None:
    x = torch.tensor([[0.0, -torch.inf, 1.0], [-torch.inf, -torch.inf, -torch.inf]])
    assert torch.allclose(softmax(x[:1]), torch.softmax(x[:1], -1)) and softmax(x)[0, 1] == 0
    assert softmax(x)[1].isnan().all()
    assert log_softmax(x)[0, 1] == -torch.inf


def test_no_product_knows_another() -> None:
    x, weight = torch.randn(5, 9, 70), torch.randn(5, 33, 70)
    out = bmm(x, weight)
    assert (out.double() - bmm_reference(x.double(), weight.double())).norm() < 1e-6 * out.double().norm()
    for b in range(5):
        assert torch.equal(bmm(x[b : b + 1, :1], weight[b : b + 1])[0, 0], out[b, 0])
    assert bmm(torch.zeros(2, 0, 4), torch.zeros(2, 3, 4)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: softmax(torch.tensor(1.0)), "last axis"),
        (lambda: softmax(torch.zeros(2, 3).double()), r"no kernel adds torch\.float64"),
        (lambda: mean(torch.zeros(2, 0)), "at least one number"),
        (lambda: mean(torch.zeros(2, 3).double()), r"no kernel adds torch\.float64"),
        (lambda: bmm(torch.zeros(2, 3, 4), torch.zeros(3, 3, 4)), r"weight \[batch, rows, cols\]"),
        (lambda: bmm(torch.zeros(2, 3, 4).double(), torch.zeros(2, 3, 4).double()), "no kernel adds"),
    ],
)
def test_what_cannot_be_promised_is_refused(call: Callable[[], Tensor], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


CHECK = """
from tml_kernels.bmm import bmm_reference, bmm_triton
from tml_kernels.mean import mean_reference, mean_triton
from tml_kernels.softmax import log_softmax_reference, softmax_reference, softmax_triton
for dtype, bound in ((torch.float32, 2e-6), (half, 2e-3 * coarse)):
    for n, d in ((1, 1), (3, 80), (5, 1024), (4, 2501)):
        x = (4 * torch.randn(n, d)).to(device, dtype)
        x[0, : d // 2] = float("-inf") if d > 1 else 0.0
        for log, reference in ((False, softmax_reference), (True, log_softmax_reference)):
            out, exact = softmax_triton(x, log), reference(x.double())
            seen = torch.isfinite(exact)
            assert out.dtype == dtype and relative_error(out[seen], exact[seen]) < bound, (dtype, n, d, log)
            assert torch.equal(torch.isfinite(out), seen)
            assert all(torch.equal(softmax_triton(x[i : i + 1], log)[0], out[i]) for i in range(n))
            assert torch.equal(softmax_triton(x[::2], log), out[::2])
        x = torch.randn(n, d).to(device, dtype) + 1
        out = mean_triton(x)
        assert relative_error(out, mean_reference(x.double())) < bound
        assert all(torch.equal(mean_triton(x[i : i + 1])[0], out[i]) for i in range(n))
    for batch, n, cols, rows in ((1, 1, 1, 1), (3, 5, 80, 33), (2, 37, 65, 3)):
        x, weight = torch.randn(batch, n, cols).to(device, dtype), torch.randn(batch, rows, cols).to(device, dtype)
        torch.full((batch, n, rows), float("nan"), device=device)  # a poisoned neighbour in memory
        out = bmm_triton(x, weight)
        assert relative_error(out, bmm_reference(x.double(), weight.double())) < bound
        b = batch - 1
        assert torch.equal(bmm_triton(x[b:, n - 1 :], weight[b:])[0, 0], out[b, n - 1])
"""


def test_triton_agrees_and_no_row_knows_another(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
