"""The fingerprint of the weights a session ran on."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import nn

_HASHES: WeakKeyDictionary[nn.Module, tuple[tuple[tuple[int, int], ...], str]] = WeakKeyDictionary()


def weights_hash(model: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 over all weights, by name, as they are in memory."""
    weights = sorted(model.state_dict().items())
    # `_version` counts writes in place, so an unchanged pair means unchanged numbers.
    stamp = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for _, t in weights)
    if (known := _HASHES.get(model)) and known[0] == stamp:
        return known[1]
    digest = hashlib.sha256()
    for name, tensor in weights:
        digest.update(name.encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data if tensor.numel() else b""
        )
    _HASHES[model] = (stamp, digest.hexdigest()[:16])
    return _HASHES[model][1]
