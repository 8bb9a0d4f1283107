"""Weights as the CPU kernels read them: float32, or the same numbers as integers; and the product of both.

Reading weights is what a token costs: at nano's size they lie beyond the second cache. A matrix whose rows are whole
multiples of one number each, as those of a shipped checkpoint are, is read as int8 and made float32 in registers: a
quarter of the bytes and, because the float32 numbers are the same, the same bits. Any other matrix is read as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tml_kernels.rounding import BITS, to_integers
from tml_kernels.tiles import LANES, integer_4x1, integer_4x2, product_1x1, product_4x1, product_4x2

F32 = NDArray[np.float32]
# Strict arithmetic, so that a compiler's choice between vector and scalar code cannot change a bit ...
jit = njit(cache=True, error_model="numpy", nogil=True)
# ... but for sums over a row, whose additions may be regrouped: how, is settled by the row's length alone.
summing = njit(cache=True, fastmath={"reassoc", "contract"}, error_model="numpy", nogil=True)
# ... or where there is no order: a maximum, of numbers that are none of them NaN.
ordered = njit(cache=True, fastmath={"nnan", "nsz", "reassoc"}, error_model="numpy", nogil=True)

FEW = 2  # rows of x up to which int8 rows are made float32 as they are read, and not all at once before
SOME = 64  # rows of x that are multiplied together: a matter of caches, not of bits


class Matrix(NamedTuple):
    """`full [..., rows, cols]`, a view of the parameter; `small` and `scale [..., rows]` with `small * scale == full`,
    to the bit, or both empty."""

    full: F32
    small: NDArray[np.int8]
    scale: F32


def matrix(full: F32) -> Matrix:
    """The parameter `[..., rows, cols]` with its integer twin, where it has one."""
    lead = full.shape[:-2]
    for bits in BITS if full.size else ():
        first = full.reshape(-1, full.shape[-1])[:1]
        twin = _twin(first, bits) and _twin(full, bits)  # most that have none say so at once
        if twin is not None:
            return Matrix(full, *twin)
    return Matrix(full, np.zeros((*lead, 0, 0), np.int8), np.zeros((*lead, 0), np.float32))


def _twin(full: F32, bits: int) -> tuple[NDArray[np.int8], F32] | None:
    small, scale = to_integers(full, bits, rounded_before=True)
    with np.errstate(all="ignore"):
        same = np.array_equal(small.astype(np.float32) * scale[..., None], full)  # what holds NaN has no twin
    return (small, scale) if same else None


@jit
def is_true(full, small, scale):
    """Whether `small [n, cols] * scale [n]` is still `full [n, cols]`: somebody may have written into the parameter."""
    for i in range(full.shape[0]):
        for j in range(full.shape[1]):
            if np.float32(small[i, j]) * scale[i] != full[i, j]:
                return False
    return True


def still_true(m: Matrix) -> bool:
    """Whether the integer twin, if there is one, still says what the parameter says."""
    cols = m.full.shape[-1]
    return m.scale.size == 0 or bool(
        is_true(m.full.reshape(-1, cols), m.small.reshape(-1, cols), m.scale.reshape(-1))
    )


@jit
def part(m, i):  # [n, rows, cols] -> the i-th [rows, cols]
    return Matrix(m.full[i], m.small[i], m.scale[i])


NO_SCALE = np.zeros(0, np.float32)  # of weights that are float32


@jit
def tokens_of(full, i, x, first, last, out, at):  # four rows of weights from i on, for the rows `first .. last` of x
    for t in range(first, last - 1, 2):
        product_4x2(full, NO_SCALE, i, x, t, out, at)
    if (last - first) % 2:
        product_4x1(full, NO_SCALE, i, x, last - 1, out, at)


@jit
def matmul_full(full, x, first, last, out):
    for i in range(0, full.shape[0] // 4 * 4, 4):
        tokens_of(full, i, x, first, last, out, i)


@jit
def matmul_small(small, scale, x, out):  # for few rows of x: every weight is made float32 once for each two of them
    n = x.shape[0]
    for i in range(0, small.shape[0] // 4 * 4, 4):
        for t in range(0, n - 1, 2):
            integer_4x2(small, scale, i, x, t, out, i)
        if n % 2:
            integer_4x1(small, scale, i, x, n - 1, out, i)


@jit
def matmul_widened(small, scale, x, first, last, out):  # for many: made float32 once for all
    wide = np.empty((4, x.shape[1]), np.float32)
    for i in range(0, small.shape[0] // 4 * 4, 4):
        for r in range(4):
            for j in range(x.shape[1]):
                wide[r, j] = np.float32(small[i + r, j]) * scale[i + r]
        tokens_of(wide, 0, x, first, last, out, i)


@jit
def last_rows(full, x, out):  # rows of weights that do not fill a tile
    for i in range(full.shape[0] // 4 * 4, full.shape[0]):
        for t in range(x.shape[0]):
            product_1x1(full, NO_SCALE, i, x, t, out, i)


@jit
def padded(x):  # the columns that do not fill a tile's lanes, and zeros: [n, cols] -> [n, LANES]
    whole = x.shape[1] // LANES * LANES
    out = np.zeros((x.shape[0], LANES), np.float32)
    out[:, : x.shape[1] - whole] = x[:, whole:]
    return out


@jit
def matmul(m, x):  # [rows, cols], [n, cols] -> [n, rows]; tiles of four rows and two tokens (see `tiles`)
    n, rows = x.shape[0], m.full.shape[0]
    out = np.empty((n, rows), np.float32)
    if len(m.scale) and n <= FEW:
        matmul_small(m.small, m.scale, x, out)
    else:
        for first in range(0, n, SOME):  # what is read again and again stays in the first cache
            last = min(n, first + SOME)
            if len(m.scale):
                matmul_widened(m.small, m.scale, x, first, last, out)
            else:
                matmul_full(m.full, x, first, last, out)
    last_rows(m.full, x, out)
    if x.shape[1] % LANES:
        full, x = padded(m.full), padded(x)
        rest = np.empty((n, rows), np.float32)
        matmul_full(full, x, 0, n, rest)
        last_rows(full, x, rest)
        out += rest
    return out
