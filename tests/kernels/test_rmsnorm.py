"""RMSNorm: reference against float64, Triton kernel against reference, rows independent of the batch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from tml_kernels import rmsnorm


def relative_error(actual: torch.Tensor, exact: torch.Tensor) -> float:
    return float((actual.double() - exact).norm() / exact.norm())


def exact_rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    x, weight = x.double(), weight.double()
    return weight * x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


@pytest.mark.parametrize(
    "dtype, bound", [(torch.float32, 2e-7), (torch.bfloat16, 6e-3), (torch.float16, 1e-3)]
)
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 80), (4, 256), (1, 2, 3, 1000)])
def test_reference_agrees_with_float64(shape: tuple[int, ...], dtype: torch.dtype, bound: float) -> None:
    x = (3 * torch.randn(shape)).to(dtype)
    weight = (1 + 0.1 * torch.randn(shape[-1])).to(dtype)
    out = rmsnorm.rms_norm(x, weight, 1e-6)
    assert out.dtype == dtype and out.shape == x.shape
    assert relative_error(out, exact_rms_norm(x, weight, 1e-6)) < bound


def test_is_the_norm_of_the_released_backbone() -> None:
    inkling = pytest.importorskip("transformers.models.inkling.modeling_inkling")
    for dtype in (torch.float32, torch.bfloat16):
        theirs = inkling.InklingRMSNorm(96, eps=1e-5).to(dtype)
        torch.nn.init.normal_(theirs.weight)
        x = torch.randn(2, 11, 96).to(dtype)
        assert torch.equal(rmsnorm.rms_norm(x, theirs.weight, 1e-5), theirs(x))


def test_gradient_agrees_with_float64() -> None:
    x, weight, upstream = torch.randn(3, 80), torch.randn(80), torch.randn(3, 80)
    ours = [x.requires_grad_(), weight.requires_grad_()]
    exact = [t.detach().double().requires_grad_() for t in ours]
    (rmsnorm.rms_norm(ours[0], ours[1], 1e-2) * upstream).sum().backward()
    (exact_rms_norm(exact[0], exact[1], 1e-2) * upstream).sum().backward()
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert relative_error(mine.grad, theirs.grad) < 1e-6


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    x, weight = torch.randn(37, 256), torch.randn(256)
    together = rmsnorm.rms_norm(x, weight)
    alone = torch.cat([rmsnorm.rms_norm(row[None], weight) for row in x])
    assert torch.equal(together, alone)


def test_wrong_weight_is_one_clear_sentence() -> None:
    with pytest.raises(ValueError, match=r"weight of shape \[d\]"):
        rmsnorm.rms_norm(torch.zeros(2, 4), torch.ones(5))


def test_no_triton_means_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmsnorm, "triton_available", lambda: False)
    monkeypatch.setattr(rmsnorm, "rms_norm_triton", lambda *_: pytest.fail("the kernel was launched"))
    x, weight = torch.randn(2, 4), torch.ones(4)
    assert torch.equal(rmsnorm.rms_norm(x, weight), rmsnorm.rms_norm_reference(x, weight))


def test_import_does_not_pull_in_triton() -> None:
    code = "import sys, tml_kernels.rmsnorm; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


KERNEL_CHECK = """
from tml_kernels.rmsnorm import rms_norm_reference, rms_norm_triton
for dtype, bound in ((torch.float32, 1e-6), (half, 1e-3 * coarse)):
    for shape in ((1, 3), (5, 80), (2, 3, 257)):
        x = (3 * torch.randn(shape)).to(device, dtype)
        weight = torch.randn(shape[-1]).to(device, dtype)
        out, expected = rms_norm_triton(x, weight, 1e-6), rms_norm_reference(x, weight, 1e-6)
        assert out.shape == expected.shape and out.dtype == expected.dtype
        assert relative_error(out, expected) < bound, (dtype, shape)
        rows = torch.cat([rms_norm_triton(row[None], weight, 1e-6) for row in x])
        assert torch.equal(rows, out), "a row changed with the batch"
"""


def test_triton_kernel_agrees_with_the_reference(check_kernel: Callable[[str], None]) -> None:
    check_kernel(KERNEL_CHECK)
