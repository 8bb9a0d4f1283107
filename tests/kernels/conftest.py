"""Run a check of a Triton kernel in a process of its own: on the GPU, or in Triton's interpreter.

Triton reads TRITON_INTERPRET once, when it is first imported. The same check serves both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from tml_kernels.rmsnorm import triton_available

PREFIX = """
import torch
torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter truncates where a GPU rounds to the nearest bfloat16, so bfloat16 is for the GPU.
half = torch.bfloat16 if device == "cuda" else torch.float16
coarse = 8.0 if device == "cuda" else 1.0  # bounds are for float16: bfloat16 has three binary digits fewer
if device == "cpu":  # a product in the interpreter is NumPy's, and some BLAS add otherwise in another row of a block
    import numpy
    product = numpy.matmul
    def by_rows(a, b, dtype=None):
        if a.ndim != 2:
            return product(a, b, dtype=dtype)
        return numpy.concatenate([product(a[i : i + 1], b, dtype=dtype) for i in range(len(a))])
    numpy.matmul = by_rows
def relative_error(actual, exact):
    return float((actual.double() - exact.double()).norm() / exact.double().norm().clamp_min(1e-30))
"""


def _run(code: str) -> None:
    interpret = "0" if torch.cuda.is_available() else "1"
    run = subprocess.run(
        [sys.executable, "-c", PREFIX + code],
        env={**os.environ, "TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.fixture(scope="session")
def check_kernel() -> Callable[[str], None]:
    """Runs code that is given what `PREFIX` defines; fails with the code's own words."""
    if not triton_available():
        pytest.skip("Triton is not installed (Linux only, extra `kernels`)")
    return _run
