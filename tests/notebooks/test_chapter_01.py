"""Chapter 01 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

NOTEBOOK = "01_time_and_micro_turns.ipynb"


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_01(solved: bool, small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, solved)
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
