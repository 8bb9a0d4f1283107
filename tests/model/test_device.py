"""A device that is none, or is not there: one sentence."""

from __future__ import annotations

import pytest
import torch

from tml_lab.model.device import DeviceError, check_device


@pytest.mark.parametrize("device", ["foo", "", "cpu:x", "mps", "meta"])
def test_no_device(device: str) -> None:
    with pytest.raises(DeviceError, match=r"^'.*' is not a device: use cpu or cuda\.$"):
        check_device(device)


def test_cuda_is_taken_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    check_device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device: use --device cpu"):
        check_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for there in ("cuda", "cuda:0", "cuda:1"):
        check_device(there)
    with pytest.raises(DeviceError, match=r"no CUDA device 2: its last one is cuda:1\."):
        check_device("cuda:2")
