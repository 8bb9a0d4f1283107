"""What a long run frees goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tml_lab.train.heap import give_back

HOLES = """
import os, torch
from pathlib import Path
from tml_lab.train.heap import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

before = resident()
tensors = [torch.full((16_000,), 1.0) for _ in range(1500)]  # 64 kB each: too small for pages of their own
kept = tensors[::50]
held = resident()
del tensors
left = resident()  # those that are kept lie between the holes
given = give_back()
print(held - before, left - before, resident() - before, given, all(float(t.sum()) == 16_000 for t in kept))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file() or not give_back(), reason="needs Linux and glibc")
def test_holes_in_the_heap_go_back_to_the_system() -> None:
    # in a process of its own: in one that has run other tests, the tensors fit into the holes that those left
    run = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    held, left, after, given, whole = run.stdout.split()
    assert float(held) > 80 and float(left) > 60, "no longer so: then `give_back` has become needless"
    assert given == "True"
    assert float(after) < 0.3 * float(held)
    assert whole == "True"
