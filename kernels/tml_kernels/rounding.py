"""Rows as small integers times one number: what is shipped, what training may see of it, and what the CPU kernels read.

One rule for all three, or training would see other weights than are shipped, and the kernels would find no integer twin
of them. It is written once, in torch, with operations that round alike on every device. Needs no Numba.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST_SCALE = 1e-30  # a row of zeros is divided by it
BITS = (8, 6, 4)  # a weight may take; of six, the integers are -31..31, of four -7..7
# Four bits have no level to waste on a row's outliers: the shares of its range that are tried, the rest being clipped.
# The whole comes first and wins a tie: what was rounded before lies on its levels, and so does not move again.
SHARES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)

AT_ONCE = 1024  # rows, on a CPU: what they need lies in its caches, which is four times as fast


def largest(bits: int) -> int:
    """The largest integer of so many bits, sign included."""
    return 2 ** (bits - 1) - 1


def _levels(rows: Tensor, scale: Tensor, most: int) -> Tensor:
    return (rows / scale).round_().clamp_(-most, most)


def _scale(rows: Tensor, bits: int, shares: tuple[float, ...]) -> Tensor:
    """`[rows, cols]` -> `[rows, 1]`: of the scales that `shares` allow, the one with the least squared error.

    Below eight bits a scale has only bfloat16's digits: its product with any of the integers is then exact.
    """
    most = largest(bits)
    top = rows.abs().amax(-1, keepdim=True)
    whole = top / torch.full_like(top, most)  # by a number, CUDA would multiply with its rounded reciprocal
    best = least = None
    for share in shares:
        scale = (whole * share).clamp_min(SMALLEST_SCALE)
        if bits < 8:
            scale = ((scale.view(torch.int32) + 0x8000) & ~0xFFFF).view(torch.float32)
        if len(shares) == 1:
            return scale
        error = _levels(rows, scale, most).mul_(scale).sub_(rows).square_()
        # So wide that the order of additions, which is another on each device, hardly ever decides.
        error = error.sum(-1, keepdim=True, dtype=torch.float64)
        if best is None or least is None:
            best, least = scale, error
        else:
            best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    assert best is not None
    return best


@torch.no_grad()
def _parts(weights: Tensor, bits: int, search: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """`[..., rows, cols]` -> part by part `(integers [n, cols], scales [n, 1])`, both float32."""
    shares = SHARES if bits == 4 and search else SHARES[:1]
    rows = weights.reshape(-1, weights.shape[-1])
    for part in rows.split(AT_ONCE) if rows.device.type == "cpu" else (rows,):
        scale = _scale(part, bits, shares)
        yield _levels(part, scale, largest(bits)), scale


def rounded(weights: Tensor, bits: int) -> Tensor:
    """Float32 weights as they are read back after shipping.

    Args:
        weights: `[..., rows, cols]` float32, on any device; each row is rounded by itself.
        bits: 8, 6 or 4.

    Returns:
        `[..., rows, cols]` float32, a new tensor: in each row integers times one scale. Rounding it again changes
        nothing. No gradient, and nothing waits for the device.
    """
    parts = [small.mul_(scale) for small, scale in _parts(weights.detach(), bits, search=True)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(weights.shape)


def to_integers(
    full: NDArray[np.float32], bits: int, rounded_before: bool = False
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`full [..., rows, cols]` -> `(small [..., rows, cols], scale [..., rows])`; `small * scale` is `rounded(full)`.

    In six and four bits rounding the result again finds the same integers and the same scale. `rounded_before`: `full`
    is such a result, if it is anything of the kind; spares the search for four bits' scale.
    """
    parts = _parts(torch.from_numpy(full), bits, search=not rounded_before)
    parts = [(small.to(torch.int8), scale) for small, scale in parts]
    small, scale = (torch.cat(pieces).numpy() for pieces in zip(*parts, strict=True))
    return small.reshape(full.shape), scale.reshape(full.shape[:-1])


def to_six_bits(small: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Integers -31..31 `[..., cols]` -> four in three bytes: `[..., 3 * cols / 4]`; cols is a multiple of four."""
    a, b, c, d = np.moveaxis((small.reshape(*small.shape[:-1], -1, 4) + 32).astype(np.uint8), -1, 0)
    packed = np.stack([a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2], axis=-1)  # [..., cols / 4, 3]
    return packed.reshape(*small.shape[:-1], -1)


def from_six_bits(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Undo `to_six_bits`."""
    x, y, z = np.moveaxis(packed.reshape(*packed.shape[:-1], -1, 3), -1, 0)
    four = np.stack(
        [x & 63, (x >> 6 | y << 2) & 63, (y >> 4 | z << 4) & 63, z >> 2], axis=-1
    )  # [..., cols / 4, 4]
    return (four.astype(np.int8) - 32).reshape(*packed.shape[:-1], -1)


def to_four_bits(small: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Integers -7..7 `[..., cols]` -> two to a byte, the first in its low half: `[..., cols / 2]`; cols is even."""
    shifted = (small + 8).astype(np.uint8)
    return shifted[..., ::2] | shifted[..., 1::2] << np.uint8(4)


def from_four_bits(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Undo `to_four_bits`."""
    two = np.stack([packed & 15, packed >> 4], axis=-1)  # [..., cols / 2, 2]
    return (two.astype(np.int8) - 8).reshape(*packed.shape[:-1], -1)
