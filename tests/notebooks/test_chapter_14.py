"""Chapter 14 with every exercise solved, on the shipped nano: its claims are about what that model does."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "14_why_did_it_speak.ipynb"
SOLVED = {
    "lens_difference": """
def lens_difference(resid, norm_weight, eps, direction):
    return torch.nn.functional.rms_norm(resid, resid.shape[-1:], norm_weight, eps) @ direction
""",
    "pool": """
def pool(pattern, cell, n_cells):
    return pattern @ torch.nn.functional.one_hot(cell, n_cells).to(pattern.dtype)
""",
    "cut_rows": """
def cut_rows(pattern, gone):
    left = torch.where(gone, 0.0, pattern)
    total = left.sum(-1, keepdim=True)
    return torch.where(gone.any(-1)[:, None], left / torch.where(total > 0, total, 1.0), pattern)
""",
    "restored": """
def restored(patched, clean, corrupt):
    return (patched - corrupt) / (clean - corrupt)
""",
}


@pytest.mark.slow
def test_chapter_14_solved(run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, SOLVED)
    assert out.count("yours now runs inside") == 4 and "not started" not in out
