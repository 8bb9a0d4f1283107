"""Chapter 06 with every exercise solved, on the shipped nano: its own voice, by a learner's parts."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "06_sound_out.ipynb"


def test_chapter_06_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, solved=True)[0].count("yours now runs inside") == 4
