"""The product whose rows do not know their batch: values, gradient, invariance; Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tml_kernels import matmul as module
from tml_kernels.matmul import matmul, matmul_reference

pytest.importorskip("numba", reason="Numba does not run here")


def relative_error(actual: torch.Tensor, exact: torch.Tensor) -> float:
    return float((actual.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("shape, rows", [((1, 1), 1), ((5,), 7), ((3, 80), 33), ((2, 7, 257), 64), ((40, 256), 130)])
def test_it_agrees_with_float64_and_no_row_knows_another(shape: tuple[int, ...], rows: int) -> None:
    x, weight = torch.randn(shape), torch.randn(rows, shape[-1])
    out = matmul(x, weight)
    assert out.shape == (*shape[:-1], rows)
    assert relative_error(out, matmul_reference(x.double(), weight.double())) < 1e-6
    flat, whole = x.reshape(-1, shape[-1]), out.reshape(-1, rows)
    for i in range(len(flat)):
        assert torch.equal(matmul(flat[i], weight), whole[i])
    assert torch.equal(matmul(flat[::2], weight), whole[::2])  # not contiguous
    assert torch.equal(matmul(flat, weight.T.contiguous().T), whole)


def test_the_librarys_own_product_does_not_keep_this_promise() -> None:
    """If it ever does on this machine, these kernels cost time for nothing: better to know."""
    x, weight = torch.randn(300, 256), torch.randn(768, 256)
    whole = matmul_reference(x, weight)
    if all(torch.equal(matmul_reference(x[:n], weight), whole[:n]) for n in (1, 2, 5, 17, 64)):
        pytest.skip("the library's product happens to be batch-invariant for these shapes here")
    assert torch.equal(matmul(x[:5], weight), matmul(x, weight)[:5])


def test_the_gradient_is_the_products() -> None:
    x, weight, upstream = torch.randn(3, 4, 20), torch.randn(9, 20), torch.randn(3, 4, 9)
    ours = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    exact = [x.double().requires_grad_(), weight.double().requires_grad_()]
    out = matmul(ours[0], ours[1])
    with torch.no_grad():
        assert torch.equal(matmul(x, weight), out)
    (out * upstream).sum().backward()
    (matmul_reference(exact[0], exact[1]) * upstream).sum().backward()
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert relative_error(mine.grad, theirs.grad) < 1e-6


def test_what_cannot_be_promised_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be \[..., cols\]"):
        matmul(torch.zeros(2, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"no kernel adds torch\.float64 on cpu in a fixed order"):
        matmul(torch.zeros(2, 4).double(), torch.zeros(3, 4).double())
    assert matmul(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)


CHECK = """
from tml_kernels.matmul import matmul_reference, matmul_triton
for dtype, bound in ((torch.float32, 1e-6), (half, 1e-3 * coarse)):
    for n, cols, rows in ((1, 1, 1), (5, 80, 3), (37, 257, 65), (70, 64, 40)):
        x, weight = torch.randn(n, cols).to(device, dtype), torch.randn(rows, cols).to(device, dtype)
        torch.full((n, rows), float("nan"), device=device)  # a poisoned neighbour in memory
        out = matmul_triton(x, weight)
        exact = matmul_reference(x.double(), weight.double())
        assert out.dtype == dtype and relative_error(out, exact) < bound, (dtype, n, cols, rows)
        assert all(torch.equal(matmul_triton(x[i : i + 1], weight)[0], out[i]) for i in range(0, n, 7))
        assert torch.equal(matmul_triton(x[::2], weight), out[::2])
    x[0] = float("nan")
    assert torch.equal(matmul_triton(x, weight)[1:], out[1:]), "what is no number spread to other rows"
"""


def test_triton_agrees_and_no_row_knows_another(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)


def test_no_order_of_additions_is_a_function_of_the_batch() -> None:
    sizes = (module.BLOCK_ROWS, module.BLOCK_OUT, module.BLOCK_COLS, module.BLOCK_HALF)
    assert {type(v) for v in sizes} == {int}
    for n in (1, 64, 65, 2047, 2048, 10**6):
        tile_n, tile_r, warps, stages = module.half_tile(n)
        assert tile_n % 64 == 0 and tile_n // 16 >= warps, "one warp group or more of Hopper's instruction for 64 rows"
        assert 2 * (tile_n + tile_r) * module.BLOCK_HALF * stages <= 227 << 10, "more than the shared memory holds"
