"""Which device a command computes on."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A device that is none, or that this machine lacks; the message is one sentence that says what to do."""


def check_device(device: str) -> None:
    """Nothing, where `device` is cpu, cuda or cuda:N and there is one. Raises DeviceError."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise DeviceError(f"{device!r} is not a device: use cpu or cuda.")
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("this machine has no CUDA device: use --device cpu.")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise DeviceError(f"this machine has no CUDA device {wanted.index}: its last one is cuda:{last}.")
