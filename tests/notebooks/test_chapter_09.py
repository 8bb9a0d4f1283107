"""Chapter 09 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "09_bitwise.ipynb"


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_09(solved: bool, small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, solved)
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
