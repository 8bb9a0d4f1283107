"""The tables that people read are those of `scores.json`: in the README, and in the model card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tml_lab.bench.scoreboard import SCORES, scores_markdown, summary_markdown
from tml_lab.model.checkpoint import checkpoint_dir, checkpoint_hash

ROOT = Path(__file__).parents[2]
CARD = checkpoint_dir("nano") / "README.md"

pytestmark = pytest.mark.skipif(not CARD.is_file(), reason="no nano: run `make train`")


def test_the_readme_and_the_model_card_show_the_scores_that_were_measured() -> None:
    result = json.loads((checkpoint_dir("nano") / SCORES).read_text(encoding="utf-8"))
    assert result["checkpoint"].endswith(checkpoint_hash("nano")), "the scores are of other weights"
    summary = summary_markdown(result)
    assert summary in (ROOT / "README.md").read_text(encoding="utf-8")
    assert scores_markdown(result).strip() in CARD.read_text(encoding="utf-8")
    goals = [line for line in summary.splitlines() if ">=" in line or "<=" in line]
    assert len(goals) == 9, "a benchmark with a goal is missing"


@pytest.mark.parametrize("name", ["nano-everything", "pico-eyes"])
def test_the_other_checkpoints_cards_show_their_own_scores(name: str) -> None:
    folder = checkpoint_dir(name)
    result = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    assert result["checkpoint"].endswith(checkpoint_hash(folder)), "the scores are of other weights"
    assert scores_markdown(result).strip() in (folder / "README.md").read_text(encoding="utf-8")
