"""Chapter 09 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "09_bitwise.ipynb"
SOLVED = {
    "split_bounds": """
def split_bounds(first, n_keys, split):
    bounds, begin = [], first
    while begin < first + n_keys:
        end = min((begin // split + 1) * split, first + n_keys)
        bounds.append((begin, end))
        begin = end
    return bounds
""",
    "partial_softmax": """
def partial_softmax(scores, values):
    largest = scores.amax(-1, keepdim=True)
    weight = torch.where(scores == -torch.inf, 0.0, torch.exp(scores - largest))
    return largest, weight.sum(-1, keepdim=True), matmul(weight, values.T.contiguous())
""",
    "merge": """
def merge(left, right):
    largest = torch.maximum(left[0], right[0])
    factors = [torch.where(side[0] == -torch.inf, 0.0, torch.exp(side[0] - largest)) for side in (left, right)]
    return (largest, *(factors[0] * a + factors[1] * b for a, b in zip(left[1:], right[1:], strict=True)))
""",
}


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_09(solved: bool, small_nano: None, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        if solved and "raise NotImplementedError" in source:
            source = SOLVED[source.split("(")[0].removeprefix("def ")]
        exec(compile(source, NOTEBOOK.name, "exec"), names)
    out = capsys.readouterr().out
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
