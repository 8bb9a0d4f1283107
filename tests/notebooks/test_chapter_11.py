"""Chapter 11 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget")
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "11_background.ipynb"
SOLVED = {
    "seconds_left": """
def seconds_left(timer, turn):
    passed = 0 if timer.started is None else turn - timer.started
    return max(0.0, timer.seconds - passed * TURN_SECONDS)
""",
    "panel_at": """
def panel_at(history, turn):
    items = {}
    for change in history:
        if change.turn <= turn:
            items[change.id] = change.put
            if change.put is None:
                del items[change.id]
    return list(items.values())
""",
    "fit_turn": """
def fit_turn(typed, ready):
    read, left = typed, list(ready)
    while left:
        more = (read + " " + left[0]).strip()
        if len(more) > MAX_TYPED or len(more) - len(typed) > MAX_READ:
            break
        read = more
        left.pop(0)
    return read, left
""",
}


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_11(
    solved: bool, small_nano: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TML_HEADLESS", "1")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        if solved and "raise NotImplementedError" in source:
            source = SOLVED[source.split("(")[0].removeprefix("def ")]
        exec(compile(source, NOTEBOOK.name, "exec"), names)
    out = capsys.readouterr().out
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
