"""Chapter 07 with every exercise solved, in its short run: a few steps, then the pico that the repository keeps."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("tml_widgets")
NOTEBOOK = "07_learning_when_to_speak.ipynb"
SOLVED = {
    "reply_turn": """
def reply_turn(due, margin):
    turn = 0
    while (turn + 1) * TURN_SECONDS < due + margin - 1e-7:
        turn += 1
    return turn
""",
    "token_weights": """
def token_weights(target, silent, silent_weight, word_weight):
    weight = torch.ones(target.shape, device=target.device)
    weight[target >= len(SPECIALS)] = word_weight
    weight[target == silent] = silent_weight
    return weight
""",
    "weighted_cross_entropy": """
def weighted_cross_entropy(logits, target, weight):
    asked = target.clamp(min=0)[:, None]
    each = -logits.log_softmax(-1).gather(1, asked)[:, 0]
    weight = weight * (target != NO_TARGET)
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)
""",
}


def test_chapter_07_solved(run_chapter: RunChapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TML_HEADLESS", "1")
    monkeypatch.delenv("TML_PICO_STEPS", raising=False)
    out, names = run_chapter(NOTEBOOK, SOLVED)
    assert out.count("yours now runs inside") == 3
    assert names["pico"] is names["shipped"] and names["trainer"].step == names["STEPS"] < 100
