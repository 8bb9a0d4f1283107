"""The CPU kernels of a turn against float64, and rows that do not depend on their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

decode = pytest.importorskip("tml_kernels.decode", reason="Numba does not run here")
attend = pytest.importorskip("tml_kernels.attend")
matrix = pytest.importorskip("tml_kernels.weights").matrix
RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n, cols, rows", [(1, 256, 512), (5, 7, 3), (18, 33, 65), (2, 1, 1)])
def test_a_product_agrees_with_float64_row_by_row(n: int, cols: int, rows: int) -> None:
    weight, x = random(rows, cols), random(n, cols)
    out = decode.matmul(matrix(weight), x)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    assert np.linalg.norm(out - exact) < 1e-6 * np.linalg.norm(exact)
    for t in range(n):
        assert np.array_equal(decode.matmul(matrix(weight), x[t : t + 1])[0], out[t])


def test_the_exponential_below_zero() -> None:
    x = -np.concatenate([[0.0], RNG.uniform(0, 1, 500), RNG.uniform(0, 80, 500), [1e9]]).astype(np.float32)
    y, exact = x.copy(), np.exp(x.astype(np.float64))
    attend.exp_below(y, np.float32(0.0))
    assert y[0] == pytest.approx(1.0, abs=1e-7) and y[-1] < 1e-37
    assert np.abs(y[:501] / exact[:501] - 1).max() < 3e-7
    assert np.abs(y[501:-1] / exact[501:-1] - 1).max() < 5e-6


def test_a_short_conv_goes_on_where_it_stopped() -> None:
    x, weight = random(11, 6), random(6, 4)
    whole = decode.short_conv(x, weight, np.zeros((3, 6), np.float32))
    padded = np.concatenate([np.zeros((3, 6), np.float32), x]).astype(np.float64)
    exact = x + sum(padded[j : j + 11] * weight[:, j] for j in range(4))
    assert np.allclose(whole, exact, atol=1e-5)
    tail = np.zeros((3, 6), np.float32)
    pieces = [decode.short_conv(piece, weight, tail) for piece in (x[:1], x[1:2], x[2:9], x[9:])]
    assert np.array_equal(np.concatenate(pieces), whole) and np.array_equal(tail, x[-3:])


def test_the_router_weighs_chosen_and_shared_experts() -> None:
    x, router, bias = random(9, 8), random(7, 8), random(5)
    weight = decode.route(x, matrix(router), bias, 2, 3.0)
    score = 1 / (1 + np.exp(-(x.astype(np.float64) @ router.T)))
    for row, s in zip(weight, score, strict=True):
        chosen = set(np.argsort(-(s[:5] + bias))[:2])
        assert set(np.flatnonzero(row[:5])) == chosen
        kept = [e in chosen or e >= 5 for e in range(7)]
        assert np.allclose(row, 3.0 * np.where(kept, s, 0) / s[kept].sum(), atol=1e-6)


def test_what_is_not_a_number_stays_visible() -> None:
    x = random(2, 8)
    x[1, 3] = np.nan
    out = decode.matmul(matrix(random(4, 8)), decode.normed(x, np.ones(8, np.float32), 1e-6))
    assert np.isfinite(out[0]).all() and np.isnan(out[1]).all()
