"""The fingerprint of the weights a session ran on."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
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


def warn_of_other_weights(checkpoint: Mapping[str, str], model: nn.Module, so: str) -> None:
    """Warn when a recording's `checkpoint` names other weights than the model's. `so`: what follows from that."""
    made_by = checkpoint.get("sha256")
    if made_by and made_by != (own := weights_hash(model)):
        said = f"this recording was made with weights {made_by}, other than this model's {own}: {so}"
        warnings.warn(said, stacklevel=3)
