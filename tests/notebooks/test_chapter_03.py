"""Chapter 03 with every exercise solved, on the shipped nano: what it says of attention is said of trained weights."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "03_sight.ipynb"


def test_chapter_03_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, solved=True)[0].count("yours now runs inside") == 3
