"""Chapter 01 with every exercise solved and with none, on a small random model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from tml_lab.config import preset
from tml_lab.course import checks
from tml_lab.model.checkpoint import save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.worlds.episode import closed_world
from tml_lab.worlds.humans import recordings_dir

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


@pytest.fixture
def _small_nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A random pico model under the name nano, the demo recordings beside it, figures not drawn."""
    demo = recordings_dir()
    tokenizer = TextTokenizer.build(closed_world())
    torch.manual_seed(0)
    model = InteractionModel(preset("pico").with_(vocab_size=tokenizer.size))
    with torch.no_grad():
        for (
            parameter
        ) in model.backbone.parameters():  # some start at zero: nothing would pass from layer to layer
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_checkpoint(tmp_path / "checkpoints" / "nano", model, tokenizer, {})
    (tmp_path / "recordings").symlink_to(demo)
    monkeypatch.setenv("TML_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(go.Figure, "show", lambda self: None)
    yield
    for name in checks.__all__:
        getattr(checks, name).restore()


@pytest.mark.parametrize("solved", [True, False])
def test_chapter_01(solved: bool, _small_nano: None, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for source in code_cells():
        if solved and "raise NotImplementedError" in source:
            source = SOLVED[source.split("(")[0].removeprefix("def ")]
        exec(compile(source, NOTEBOOK.name, "exec"), names)
    out = capsys.readouterr().out
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)
