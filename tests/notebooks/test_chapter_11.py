"""Chapter 11 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("anywidget")
NOTEBOOK = "11_background.ipynb"


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_11(
    solved: bool, small_nano: None, run_chapter: RunChapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TML_HEADLESS", "1")
    out, _ = run_chapter(NOTEBOOK, solved)
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
