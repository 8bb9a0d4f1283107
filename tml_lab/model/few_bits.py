"""Weights in few bits: a row of a matrix as small integers and one scale: three eighths of bfloat16's size.

Shipped are six bits (-31..31, four in three bytes), wrong by about 3 % of a row's typical weight; eight bits (0.7 %)
are read and written as well. Vectors, short rows and small tensors stay in bfloat16. What is read back is float32
again: the model that runs is exactly the one that was scored.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tml_kernels.rounding import from_six_bits, to_integers, to_six_bits

SCALE = ".scale"  # after the name of a tensor in few bits: what its rows are multiplied by
SHORTEST = 32  # numbers in a row that is worth a scale of its own
SMALLEST = 4096  # numbers in a tensor worth making smaller


def pack(tensors: Mapping[str, Tensor], bits: int = 6) -> dict[str, Tensor]:
    """Matrices `[..., rows, cols]` -> integers and `[..., rows, 1]` float32 scales; other floats -> bfloat16.

    The integers are int8, or with six bits uint8 of three quarters of the columns (where they are a multiple of four).
    Raises ValueError naming a tensor that holds NaN or infinity.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
            continue
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds NaN or infinity: the run that made it has diverged")
        if tensor.ndim < 2 or tensor.shape[-1] < SHORTEST or tensor.numel() < SMALLEST:
            packed[name] = tensor.bfloat16()
            continue
        six = bits == 6 and tensor.shape[-1] % 4 == 0
        small, scale = to_integers(tensor.detach().float().cpu().numpy(), 6 if six else 8)
        packed[name] = torch.from_numpy(to_six_bits(small) if six else small)
        packed[name + SCALE] = torch.from_numpy(scale)[..., None]
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack`: float32 again; tensors without a scale that are not floats stay as they are."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in packed:
            continue
        scale = packed.get(name + SCALE)
        if scale is not None:
            small = torch.from_numpy(from_six_bits(tensor.numpy())) if tensor.dtype == torch.uint8 else tensor
            tensors[name] = small.float() * scale
        else:
            tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors
