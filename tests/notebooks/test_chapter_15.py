"""Chapter 15 with every exercise solved, on the shipped nano."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
pytest.importorskip("ipywidgets", reason="the calculator's sliders")
NOTEBOOK = "15_from_nano_to_276b.ipynb"
SOLVED = {
    "experts_touched": """
def experts_touched(n_experts, top_k, tokens):
    return n_experts - n_experts * ((n_experts - top_k) / n_experts) ** tokens
""",
    "passes": """
def passes(typed, patches, words, speaking):
    return [5 + typed + patches] + [1] * (words + 4) * speaking
""",
    "kept_bytes": """
def kept_bytes(positions, slots, n_kv_heads, d_head, number=2):
    return number * d_head * n_kv_heads * sum((min(positions, slots), min(positions, slots)))
""",
}


def test_chapter_15_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, SOLVED)[0].count("yours now runs inside") == 3
