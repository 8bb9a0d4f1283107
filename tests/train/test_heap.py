"""What a long run frees goes back to the system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tml_lab.train.heap import give_back

STATM = Path("/proc/self/statm")


def resident() -> float:
    """Megabytes."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not STATM.is_file() or not give_back(), reason="needs Linux and glibc")
def test_holes_in_the_heap_go_back_to_the_system() -> None:
    give_back()  # what earlier tests left
    before = resident()
    tensors = [torch.full((16_000,), 1.0) for _ in range(1500)]  # 64 kB each: too small for pages of their own
    kept = tensors[::50]
    held = resident()
    del tensors
    left = resident()  # those that are kept lie between the holes
    assert held - before > 80 and left - before > 60, "no longer so: then `give_back` has become needless"
    assert give_back()
    assert resident() - before < 0.3 * (held - before)
    assert all(float(tensor.sum()) == 16_000 for tensor in kept)
