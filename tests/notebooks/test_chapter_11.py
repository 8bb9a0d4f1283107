"""Chapter 11 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("anywidget")
NOTEBOOK = "11_background.ipynb"
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
    solved: bool, small_nano: None, run_chapter: RunChapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TML_HEADLESS", "1")
    out, _ = run_chapter(NOTEBOOK, SOLVED if solved else None)
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
