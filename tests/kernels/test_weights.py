"""Integer twins: only where they say the same, and then the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

weights = pytest.importorskip("tml_kernels.weights", reason="Numba does not run here")
RNG = np.random.default_rng(0)


def of_few_bits(*shape: int, bits: int = 8) -> np.ndarray:
    """Rows that a shipped checkpoint could hold."""
    from tml_lab.model.few_bits import pack, unpack

    weight = torch.from_numpy(RNG.standard_normal((4096, shape[-1])).astype(np.float32))
    rows = unpack(pack({"w": weight}, bits))["w"][: int(np.prod(shape[:-1]))]
    return rows.reshape(shape).numpy().copy()


def rows_of(m, shape: tuple[int, ...]) -> np.ndarray:
    """What the panels of a twin say: `[..., rows, cols]`."""
    both = m.small.astype(np.float32) * m.scale[..., None, :]  # [..., panels, cols, outs]
    rows = both.swapaxes(-1, -2).reshape(*shape[:-2], -1, both.shape[-2])
    columns = np.argsort(weights.columns_of(shape[-1]))  # where in a panel each column stands
    assert not rows[..., shape[-2] :, :].any() and not rows[..., columns[shape[-1] :]].any()
    return rows[..., : shape[-2], columns[: shape[-1]]]


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("shape", [(64, 256), (11, 40), (3, 32, 64)])
def test_what_was_shipped_in_few_bits_has_a_twin(shape: tuple[int, ...], bits: int) -> None:
    full = of_few_bits(*shape, bits=bits)
    m = weights.matrix(full)
    assert m.small.dtype == np.int8 and np.shares_memory(m.full, full)
    assert np.array_equal(rows_of(m, shape), full) and weights.still_true(m)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("rows, cols", [(70, 256), (64, 64), (11, 40), (33, 100)])
def test_a_twin_gives_the_same_bits(rows: int, cols: int, bits: int) -> None:
    full = of_few_bits(rows, cols, bits=bits)
    m, plain = weights.matrix(full), weights.alone(full)
    x = RNG.standard_normal((300, cols)).astype(np.float32)
    few = np.concatenate([weights.matmul(plain, x[t : t + 1]) for t in range(len(x))])  # by no panel
    for n in (*range(1, 20), 70, 300):
        assert np.array_equal(weights.matmul(m, x[:n]), few[:n])
        assert np.array_equal(weights.matmul(plain, x[:n]), few[:n])


@pytest.mark.parametrize(
    "spoil", [lambda w: w * 1.1, lambda w: w + 1e-3, lambda w: np.where(w == w.max(), np.nan, w)]
)
def test_any_other_matrix_has_none(spoil) -> None:
    full = RNG.standard_normal((64, 256)).astype(np.float32)
    assert weights.matrix(full).scale.size == 0
    for bits in (4, 6, 8):
        shipped = of_few_bits(64, 256, bits=bits)
        shipped[40, 3] = np.nextafter(shipped[40, 3], np.float32(9), dtype=np.float32)  # one weight, one bit
        assert weights.matrix(shipped).scale.size == 0
    assert weights.matrix(spoil(full).astype(np.float32)).scale.size == 0


def test_what_was_written_behind_its_back_is_found() -> None:
    full = of_few_bits(3, 32, 64)
    m = weights.matrix(full)
    full[2, 31, 63] += 1.0
    assert not weights.still_true(m)
    x = RNG.standard_normal((2, 64)).astype(np.float32)
    again = weights.matrix(full)
    one = weights.Matrix(again.full[2], again.small[2], again.scale[2])
    assert np.allclose(weights.matmul(one, x), x @ full[2].T, atol=1e-4)


def test_an_empty_matrix_is_one() -> None:
    assert weights.matmul(
        weights.matrix(np.zeros((0, 4), np.float32)), np.zeros((3, 4), np.float32)
    ).shape == (3, 0)
