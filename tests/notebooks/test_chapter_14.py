"""Chapter 14 with every exercise solved, on the shipped nano: its claims are about what that model does."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "14_why_did_it_speak.ipynb"


@pytest.mark.slow
def test_chapter_14_solved(run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, solved=True)
    assert out.count("yours now runs inside") == 4 and "not started" not in out
