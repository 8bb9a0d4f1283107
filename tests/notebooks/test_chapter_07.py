"""Chapter 07 with every exercise solved, in its short run: a few steps, then the pico that the repository keeps."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("tml_widgets")
NOTEBOOK = "07_learning_when_to_speak.ipynb"


def test_chapter_07_solved(run_chapter: RunChapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TML_HEADLESS", "1")
    monkeypatch.delenv("TML_PICO_STEPS", raising=False)
    out, names = run_chapter(NOTEBOOK, solved=True)
    assert out.count("yours now runs inside") == 3
    assert names["pico"] is names["shipped"] and names["trainer"].step == names["STEPS"] < 100
