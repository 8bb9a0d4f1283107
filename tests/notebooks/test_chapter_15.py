"""Chapter 15 with every exercise solved, on the shipped nano."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
pytest.importorskip("ipywidgets", reason="the calculator's sliders")
NOTEBOOK = "15_from_nano_to_276b.ipynb"


def test_chapter_15_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, solved=True)[0].count("yours now runs inside") == 3
