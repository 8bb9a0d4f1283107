"""Weights as the CPU kernels read them: float32, or the same numbers as integers; and the product of both.

Reading weights is what a token costs: at nano's size they lie beyond the second cache. A matrix whose rows are whole
multiples of one number each, as those of a shipped checkpoint are, is read as int8 and made float32 in registers: a
quarter of the bytes and, because the float32 numbers are the same, the same bits. The integers lie in `panels`, once
and for all. Any other matrix is read as it is, by `tiles`; many tokens lay its panels as they go.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tml_kernels import panels
from tml_kernels.panels import OUTS, columns_of
from tml_kernels.rounding import BITS, to_integers
from tml_kernels.tiles import product_1x1, product_4x1, product_4x2
from tml_kernels.vectors import LANES

F32 = NDArray[np.float32]
# Strict arithmetic, so that a compiler's choice between vector and scalar code cannot change a bit ...
jit = njit(cache=True, error_model="numpy", nogil=True)
# ... but for sums over a row, whose additions may be regrouped: how, is settled by the row's length alone.
summing = njit(cache=True, fastmath={"reassoc", "contract"}, error_model="numpy", nogil=True)

MANY = 16  # rows of x from which a panel of float32 weights is laid for them: a matter of speed, not of bits
SOME = 256  # rows of x that are multiplied together, which is a matter of caches
TILE = 6  # rows of x in a tile of a panel, at most


@jit
def lay_rows(full, at, rows, panel):  # the panel of the rows from `at` on, the last one again where there are no more
    for o in range(OUTS):
        rows[o] = min(at + o, len(full) - 1)
    panels.lay(full, rows, panel)  # pyright: ignore[reportCallIssue] - Numba gives the context


class Matrix(NamedTuple):
    """`full [..., rows, cols]`, a view of the parameter, and its integer twin, or two empty arrays.

    `small [..., panels, cols, OUTS]` is int8, `scale [..., panels, OUTS]` float32; their product is `full` to the bit,
    with its rows side by side and its columns in the order of `columns_of`.
    """

    full: F32
    small: NDArray[np.int8]
    scale: F32


def matrix(full: F32) -> Matrix:
    """The parameter `[..., rows, cols]` with its integer twin, where it has one."""
    for bits in BITS if full.size else ():
        first = full.reshape(-1, full.shape[-1])[:1]
        twin = _twin(first, bits) and _twin(full, bits)  # most that have none say so at once
        if twin is not None:
            return Matrix(full, *in_panels(*twin))
    return alone(full)


def alone(full: F32) -> Matrix:
    """The parameter `[..., rows, cols]`, to be read as it is."""
    lead = full.shape[:-2]
    return Matrix(full, np.zeros((*lead, 0, 0, 0), np.int8), np.zeros((*lead, 0, 0), np.float32))


def in_panels(small: NDArray[np.int8], scale: F32) -> tuple[NDArray[np.int8], F32]:
    """`small [..., rows, cols]`, `scale [..., rows]` as a `Matrix` has them, zeros where there is no row or column."""
    lead, (rows, cols), columns = small.shape[:-2], small.shape[-2:], columns_of(small.shape[-1])
    count = -(-rows // OUTS)
    filled = np.zeros((*lead, count * OUTS, len(columns)), np.int8)
    filled[..., :rows, :cols] = small
    scales = np.zeros((*lead, count * OUTS), np.float32)
    scales[..., :rows] = scale
    turned = filled[..., columns].reshape(*lead, count, OUTS, -1).swapaxes(-1, -2)
    return np.ascontiguousarray(turned), scales.reshape(*lead, count, OUTS)


def _twin(full: F32, bits: int) -> tuple[NDArray[np.int8], F32] | None:
    small, scale = to_integers(full, bits, rounded_before=True)
    with np.errstate(all="ignore"):
        same = np.array_equal(small.astype(np.float32) * scale[..., None], full)  # what holds NaN has no twin
    return (small, scale) if same else None


@jit
def is_true(full, small, scale, columns):
    """Whether the panels of n matrices are still `full [n, rows, cols]`: somebody may have written into a parameter."""
    n, rows, cols = full.shape
    whole = cols // LANES * LANES
    panel, places = np.empty((whole, OUTS), np.float32), np.empty(OUTS, np.int64)
    for i in range(n):
        for p in range(small.shape[1]):
            width, wrong = min(OUTS, rows - p * OUTS), 0
            lay_rows(full[i], p * OUTS, places, panel)
            for k in range(whole):
                for o in range(width):
                    wrong += np.float32(small[i, p, k, o]) * scale[i, p, o] != panel[k, o]
            for k in range(whole, len(columns)):
                for o in range(width if columns[k] < cols else 0):
                    wrong += np.float32(small[i, p, k, o]) * scale[i, p, o] != full[i, p * OUTS + o, columns[k]]
            if wrong:
                return False
    return True


def still_true(m: Matrix) -> bool:
    """Whether the integer twin, if there is one, still says what the parameter says."""
    if m.scale.size == 0:
        return True
    full, small = m.full.reshape(-1, *m.full.shape[-2:]), m.small.reshape(-1, *m.small.shape[-3:])
    return bool(is_true(full, small, m.scale.reshape(-1, *m.scale.shape[-2:]), columns_of(full.shape[-1])))


@jit
def part(m, i):  # [n, rows, cols] -> the i-th [rows, cols]
    return Matrix(m.full[i], m.small[i], m.scale[i])


NO_SCALE = np.zeros(0, np.float32)  # of weights that are float32


@jit
def times_panel(panel, scale, x, first, last, out, at):
    """`out[first .. last, at .. at + OUTS]`: a panel's outputs for these rows of x, as far as x fills its lanes."""
    tiles = (last - first + TILE - 1) // TILE
    for i in range(tiles):  # as even as they can be: a tile of one row costs as much as one of three
        t, end = first + (last - first) * i // tiles, first + (last - first) * (i + 1) // tiles
        n = end - t
        if n == 6:
            panels.tile_6(panel, scale, x, t, out, at)
        elif n == 5:
            panels.tile_5(panel, scale, x, t, out, at)
        elif n == 4:
            panels.tile_4(panel, scale, x, t, out, at)
        elif n == 3:
            panels.tile_3(panel, scale, x, t, out, at)
        elif n == 2:
            panels.tile_2(panel, scale, x, t, out, at)
        else:
            panels.tile_1(panel, scale, x, t, out, at)


@jit
def matmul_small(small, scale, base, x, out):  # panels that begin in row `base`
    for first in range(0, len(x), SOME):
        for p in range(len(small)):
            times_panel(small[p, base:], scale[p], x, first, min(len(x), first + SOME), out, p * OUTS)


@jit
def matmul_many(full, x, out):  # each panel is laid for `SOME` rows of x
    panel, rows = np.empty((x.shape[1], OUTS), np.float32), np.empty(OUTS, np.int64)
    for first in range(0, len(x), SOME):
        for at in range(0, len(full), OUTS):
            lay_rows(full, at, rows, panel)
            times_panel(panel, NO_SCALE, x, first, min(len(x), first + SOME), out, at)


@jit
def matmul_few(full, x, out):  # tiles of four rows and two tokens, as the weights lie
    n, fours = len(x), len(full) // 4 * 4
    for i in range(0, fours, 4):
        for t in range(0, n - 1, 2):
            product_4x2(full, i, x, t, out, i)
        if n % 2:
            product_4x1(full, i, x, n - 1, out, i)
    for i in range(fours, len(full)):
        for t in range(n):
            product_1x1(full, i, x, t, out, i)


@jit
def padded(x):  # the columns that do not fill a tile's lanes, and zeros: [n, cols] -> [n, LANES]
    whole = x.shape[1] // LANES * LANES
    out = np.zeros((x.shape[0], LANES), np.float32)
    out[:, : x.shape[1] - whole] = x[:, whole:]
    return out


@jit
def matmul(m, x):  # [rows, cols], [n, cols] -> [n, rows]; in the order of additions that `tiles` states
    n, rows, cols, full = len(x), len(m.full), x.shape[1], m.full
    parts = np.empty((2, n, (rows + OUTS - 1) // OUTS * OUTS), np.float32)
    for part in range(2 if cols % LANES else 1):  # whole lanes, then what does not fill them
        if part:
            x, full = padded(x), padded(full)
        if len(m.scale):
            matmul_small(m.small, m.scale, part * (cols // LANES * LANES), x, parts[part])
        elif n < MANY:
            matmul_few(full, x, parts[part])
        else:
            matmul_many(full, x, parts[part])
    if cols % LANES:
        parts[0] += parts[1]
    return parts[0] if parts.shape[2] == rows else parts[0, :, :rows].copy()
