"""Chapter 08 with every exercise solved, on the shipped nano."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "08_streaming_sessions.ipynb"


def test_chapter_08_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, solved=True)[0].count("yours now runs inside") == 2
