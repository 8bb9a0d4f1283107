"""Rows as small integers times one number: what a shipped checkpoint holds, and what the CPU kernels read.

One rule for both, or the kernels would find no integer twin of what was shipped. Needs no Numba.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_SCALE = np.float32(1e-30)  # a row of zeros is divided by it
BITS = (8, 6)  # a weight may take; of six, the integers are -31..31


def largest(bits: int) -> int:
    """The largest integer of so many bits, sign included."""
    return 2 ** (bits - 1) - 1


def to_integers(full: NDArray[np.float32], bits: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`full [..., rows, cols]` -> `(small [..., rows, cols], scale [..., rows])`, `small * scale` the nearest.

    In six bits the scale has only bfloat16's digits: then its product with any of the integers is exact, and rounding
    the result again finds the same integers and the same scale.
    """
    most = largest(bits)
    with np.errstate(all="ignore"):  # NaN and infinity have no nearest: whoever cannot bear them looks before
        scale = np.maximum(np.abs(full).max(-1) / np.float32(most), SMALLEST_SCALE).astype(np.float32)
        if bits < 8:
            scale = ((scale.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
        return np.rint(full / scale[..., None]).clip(-most, most).astype(np.int8), scale


def to_six_bits(small: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Integers -31..31 `[..., cols]` -> four in three bytes: `[..., 3 * cols / 4]`; cols is a multiple of four."""
    a, b, c, d = np.moveaxis((small.reshape(*small.shape[:-1], -1, 4) + 32).astype(np.uint8), -1, 0)
    packed = np.stack([a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2], axis=-1)  # [..., cols / 4, 3]
    return packed.reshape(*small.shape[:-1], -1)


def from_six_bits(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Undo `to_six_bits`."""
    x, y, z = np.moveaxis(packed.reshape(*packed.shape[:-1], -1, 3), -1, 0)
    four = np.stack([x & 63, (x >> 6 | y << 2) & 63, (y >> 4 | z << 4) & 63, z >> 2], axis=-1)  # [..., cols / 4, 4]
    return (four.astype(np.int8) - 32).reshape(*packed.shape[:-1], -1)
