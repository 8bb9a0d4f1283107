"""Chapter 01 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_time_and_micro_turns.ipynb"
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


def code_cells() -> list[str]:
    """The sources of the chapter's code cells."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_01(solved: bool, small_nano: None, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for source in code_cells():
        if solved and "raise NotImplementedError" in source:
            source = SOLVED[source.split("(")[0].removeprefix("def ")]
        exec(compile(source, NOTEBOOK.name, "exec"), names)
    out = capsys.readouterr().out
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
