"""Chapter 05 with every exercise solved, on the shipped nano; and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "05_mixture_of_experts.ipynb"


@pytest.mark.slow
def test_chapter_05_solved(run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, solved=True)
    assert out.count("yours now runs inside") == 4 and "not started" not in out


def test_chapter_05_on_a_small_model(small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK)
    assert out.count("not started") == 4
