"""Weights in few bits: a row of a matrix as small integers and one scale: a quarter of bfloat16's size.

Shipped are four bits (-7..7, two to a byte), wrong by about 11 % of a row's typical weight: a model that is to bear it
is trained under it (`tml_lab.train.as_shipped`). Six bits (-31..31, four in three bytes; 3 %) take the vocoder, which
has a training of its own; the unembedding, whose rows have outliers (four bits would be wrong by 26 %); and the flow
head, whose four bits cost five times its error even when trained under them. Eight bits (0.7 %) are read and written
as well. Vectors, short rows and small tensors stay in bfloat16.
What is read back is float32 again: the model that runs is exactly the one that was scored.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tml_kernels.rounding import from_four_bits, from_six_bits, to_four_bits, to_integers, to_six_bits

SCALE = ".scale"  # after the name of a tensor in eight or six bits: what its rows are multiplied by
SCALE4 = ".scale4"  # the same in four bits, which are bytes like six and so need another mark
SHORTEST = 32  # numbers in a row that is worth a scale of its own
SMALLEST = 4096  # numbers in a tensor worth making smaller
SHIPPED = 4  # bits of a weight ...
# ... but six of one whose name begins so
FINER = ("vocoder.", "unembed.", "flow.")
ALIKE = {8: 1, 6: 4, 4: 2}  # bits -> how many numbers share their bytes: rows are a multiple of it


def bits_of(name: str, tensor: Tensor, bits: int = SHIPPED) -> int:
    """Bits that each number of a floating-point tensor takes when shipped under `name`.

    `bits` for a matrix `[..., rows, cols]` worth it, at least six for what is `FINER`, eight where its columns do not
    fill whole bytes; 16, that is bfloat16, for everything else.
    """
    if tensor.ndim < 2 or tensor.shape[-1] < SHORTEST or tensor.numel() < SMALLEST:
        return 16
    if name.startswith(FINER):
        bits = max(bits, 6)
    return bits if tensor.shape[-1] % ALIKE[bits] == 0 else 8


def pack(tensors: Mapping[str, Tensor], bits: int = SHIPPED) -> dict[str, Tensor]:
    """Matrices `[..., rows, cols]` -> integers and scales `[..., rows, 1]`; other floats -> bfloat16 (see `bits_of`).

    In eight bits int8 and float32 scales; in six uint8 of three quarters of the columns and float32 scales; in four
    uint8 of half the columns and bfloat16 scales under `SCALE4`. Raises ValueError naming a tensor that holds NaN or
    infinity.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
            continue
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds NaN or infinity: the run that made it has diverged")
        few = bits_of(name, tensor, bits)
        if few == 16:
            packed[name] = tensor.bfloat16()
            continue
        small, scale = to_integers(tensor.detach().float().cpu().numpy(), few)
        rows = torch.from_numpy(scale)[..., None]
        if few == 4:
            packed[name] = torch.from_numpy(to_four_bits(small))
            packed[name + SCALE4] = rows.bfloat16()  # it has no more digits than that
        else:
            packed[name] = torch.from_numpy(to_six_bits(small) if few == 6 else small)
            packed[name + SCALE] = rows
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack`, whatever bits it took: float32 again; what neither is a float nor has a scale stays as it is."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if any(name.endswith(mark) and name.removesuffix(mark) in packed for mark in (SCALE, SCALE4)):
            continue
        if name + SCALE4 in packed:
            small = torch.from_numpy(from_four_bits(tensor.numpy()))
            tensors[name] = small.float() * packed[name + SCALE4].float()
        elif name + SCALE in packed:
            small = torch.from_numpy(from_six_bits(tensor.numpy())) if tensor.dtype == torch.uint8 else tensor
            tensors[name] = small.float() * packed[name + SCALE]
        else:
            tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors
