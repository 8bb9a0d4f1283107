"""Rows as integers -127..127 times one number: what a shipped checkpoint holds, and what the CPU kernels read.

One rule for both, or the kernels would find no eight-bit twin of what was shipped. Needs no Numba.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_SCALE = np.float32(1e-30)  # a row of zeros is divided by it


def to_eight_bits(full: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`full [..., rows, cols]` -> `(small [..., rows, cols], scale [..., rows])`, `small * scale` the nearest."""
    with np.errstate(all="ignore"):  # NaN and infinity have no nearest: whoever cannot bear them looks before
        scale = np.maximum(np.abs(full).max(-1) / np.float32(127), SMALLEST_SCALE).astype(np.float32)
        return np.rint(full / scale[..., None]).astype(np.int8), scale
