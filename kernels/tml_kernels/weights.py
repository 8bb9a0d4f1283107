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


@summing
def four(w0, w1, w2, w3, x):  # rows [cols] of float32, x [cols]: four numbers for each reading of x
    a = b = c = e = np.float32(0.0)
    for j in range(len(x)):
        value = x[j]
        a += w0[j] * value
        b += w1[j] * value
        c += w2[j] * value
        e += w3[j] * value
    return a, b, c, e


@summing
def one(w, x):
    total = np.float32(0.0)
    for j in range(len(x)):
        total += w[j] * x[j]
    return total


@jit
def matmul_full(full, x, first, last, out):  # rows `first .. last` of x
    for i in range(0, full.shape[0] // 4 * 4, 4):
        w0, w1, w2, w3 = full[i], full[i + 1], full[i + 2], full[i + 3]
        for t in range(first, last):
            out[t, i], out[t, i + 1], out[t, i + 2], out[t, i + 3] = four(w0, w1, w2, w3, x[t])


@summing
def matmul_small(small, scale, x, out):  # for few rows of x: every weight is made float32 once for each of them
    for i in range(0, small.shape[0] // 4 * 4, 4):
        w0, w1, w2, w3 = small[i], small[i + 1], small[i + 2], small[i + 3]
        s0, s1, s2, s3 = scale[i], scale[i + 1], scale[i + 2], scale[i + 3]
        for t in range(x.shape[0]):
            row = x[t]
            a = b = c = e = np.float32(0.0)
            for j in range(x.shape[1]):
                value = row[j]
                a += (np.float32(w0[j]) * s0) * value
                b += (np.float32(w1[j]) * s1) * value
                c += (np.float32(w2[j]) * s2) * value
                e += (np.float32(w3[j]) * s3) * value
            out[t, i], out[t, i + 1], out[t, i + 2], out[t, i + 3] = a, b, c, e


@jit
def matmul_widened(small, scale, x, first, last, out):  # for many: made float32 once for all
    wide = np.empty((4, x.shape[1]), np.float32)
    for i in range(0, small.shape[0] // 4 * 4, 4):
        for r in range(4):
            for j in range(x.shape[1]):
                wide[r, j] = np.float32(small[i + r, j]) * scale[i + r]
        w0, w1, w2, w3 = wide[0], wide[1], wide[2], wide[3]
        for t in range(first, last):
            out[t, i], out[t, i + 1], out[t, i + 2], out[t, i + 3] = four(w0, w1, w2, w3, x[t])


@jit
def matmul(m, x):  # [rows, cols], [n, cols] -> [n, rows]; four rows at a time share each reading of x
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
    for i in range(rows // 4 * 4, rows):
        for t in range(n):
            out[t, i] = one(m.full[i], x[t])
    return out
