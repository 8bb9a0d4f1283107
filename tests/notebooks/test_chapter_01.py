"""Chapter 01 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

NOTEBOOK = "01_time_and_micro_turns.ipynb"
SOLVED = {
    "played_span": "def played_span(turn):\n    return (turn + 1) / 5, (turn + 2) / 5\n",
    "turn_hearing": """
def turn_hearing(seconds):
    turn = int(seconds * 5)
    while turn / 5 > seconds:
        turn -= 1
    return turn
""",
    "clock_digits": """
def clock_digits(turns, powers):
    return torch.stack([turns // power % 10 for power in powers], dim=-1)
""",
}


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_01(solved: bool, small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, SOLVED if solved else None)
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
