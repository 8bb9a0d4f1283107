"""Training under the weights as they will be shipped: four bits cost least when the model has learned to bear them.

One step: `with as_shipped(model): loss(model, batch).backward()`, then `optimizer.step()`, which moves the weights
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tml_kernels.rounding import rounded
from tml_lab.model.few_bits import bits_of
from tml_lab.train.sharded import is_sharded

_copy = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
Group = tuple[int, int, torch.dtype, torch.device]  # bits, columns, ...: what one call can round


def _alike(model: nn.Module) -> dict[Group, list[Tensor]]:
    """What is shipped rounded, in few groups: two hundred tensors one by one would cost a GPU thousands of launches."""
    groups: dict[Group, list[Tensor]] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        frozen = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        if frozen or not tensor.is_floating_point() or id(tensor) in seen:
            continue
        seen.add(id(tensor))  # one tensor may have two names
        bits = bits_of(name, tensor)
        cols = tensor.shape[-1] if bits < 16 else 1
        groups.setdefault((bits, cols, tensor.dtype, tensor.device), []).append(tensor)
    return groups


def _pieces(rows: Tensor, like: list[Tensor]) -> list[Tensor]:
    """`rows [n, cols]`, cut into the shapes of `like`."""
    cut = rows.split([t.numel() // rows.shape[1] for t in like])
    return [piece.view_as(t) for piece, t in zip(cut, like, strict=True)]


def _write(tensors: list[Tensor], values: list[Tensor]) -> None:
    _copy(tensors, values)  # in place: what was compiled or captured for these addresses stays good
    torch.clear_autocast_cache()  # it may hold half-precision copies of what the tensors held


@contextmanager
def as_shipped(model: nn.Module) -> Iterator[None]:
    """Inside, the model computes with the weights that a shipped checkpoint of it would give back.

    Every parameter that is trained, and every buffer that is saved, holds its rounded values; frozen parameters (the
    vocoder's) stay as they are. On leaving, by an exception too, all are again what they were, to the bit; what was
    written into them inside is lost. Gradients go to the parameters as if nothing were rounded (straight through).
    Forward and backward both belong inside (autograd mostly notices when the backward does not); the optimizer's step,
    and whatever else changes weights or buffers, belongs outside.

    A copy of all the weights is kept meanwhile. Nothing waits for the device.

    Args:
        model: float32 weights, on any device.

    Raises:
        ValueError: the weights are divided among processes.
    """
    if is_sharded(model):
        raise ValueError(
            "as_shipped needs whole weights, and these are divided among processes: train without shares"
        )
    kept: list[tuple[list[Tensor], list[Tensor]]] = []
    try:
        with torch.no_grad():
            for (bits, cols, _, _), tensors in _alike(model).items():
                rows = torch.cat([t.reshape(-1, cols) for t in tensors])  # [n, cols], a copy
                kept.append((tensors, _pieces(rows, tensors)))
                few = rounded(rows.float(), bits) if bits < 16 else rows.bfloat16()
                _write(tensors, _pieces(few, tensors))
        yield
    finally:
        with torch.no_grad():
            for tensors, masters in kept:
                _write(tensors, masters)
