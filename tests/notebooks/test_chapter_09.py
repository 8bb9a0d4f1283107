"""Chapter 09 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "09_bitwise.ipynb"
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
def test_chapter_09(solved: bool, small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, SOLVED if solved else None)
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
