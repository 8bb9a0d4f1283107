"""Exercises in notebooks: a stub, then its check; a solved chapter runs from first cell to last."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from tml_lab.config import preset
from tml_lab.course import checks
from tml_lab.course.exercise import Exercise
from tml_lab.model.checkpoint import save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer

ROOT = Path(__file__).parents[2]
CHECK = re.compile(r"(\w+) = checks\.(\w+)\((\w+)\)")


def code_cells(path: Path) -> list[str]:
    """The sources of a notebook's code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def stubs() -> list[tuple[str, str, str]]:
    """(notebook, stub cell, the cell after it) of every exercise whose check is an `Exercise`."""
    found = []
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        cells = [*code_cells(path), ""]
        for stub, after in pairwise(cells):
            mark = CHECK.fullmatch(after.strip())
            if mark and isinstance(getattr(checks, mark[2], None), Exercise):
                found.append((path.relative_to(ROOT).as_posix(), stub, after.strip()))
    return found


@pytest.mark.parametrize(("notebook", "stub", "check"), stubs(), ids=lambda value: str(value)[-50:])
def test_a_stub_has_the_signature_of_the_reference(notebook: str, stub: str, check: str) -> None:
    mark = CHECK.fullmatch(check)
    assert mark
    (function,) = ast.parse(stub).body
    assert isinstance(function, ast.FunctionDef), (
        f"{notebook}: the cell before `{check}` must define one function"
    )
    exercise: Exercise = getattr(checks, mark[2])
    assert function.name == mark[1] == mark[3] == exercise.attribute
    assert [arg.arg for arg in function.args.args] == list(inspect.signature(exercise.reference).parameters)
    assert "raise NotImplementedError" in stub


def test_chapter_02_has_its_exercises() -> None:
    assert sum(notebook.endswith("02_sound_to_dmel.ipynb") for notebook, _, _ in stubs()) == 3


SOLVED_CH02 = {
    "quantize": """
def quantize(values):
    return (values[..., None] - BIN_CENTERS).abs().argmin(dim=-1).to(torch.uint8)
""",
    "causal_frames": """
def causal_frames(samples):
    n_frames = -(-len(samples) // HOP)
    padded = torch.cat([torch.zeros(HOP), samples, torch.zeros(n_frames * HOP - len(samples))])
    frames = [padded[HOP * i : HOP * i + WINDOW] for i in range(n_frames)]
    return torch.stack(frames) if frames else torch.zeros(0, WINDOW)
""",
    "advance": """
def advance(tail, chunk):
    heard, frames = torch.cat([tail, chunk]), []
    while len(heard) >= WINDOW:
        frames.append(heard[:WINDOW])
        heard = heard[HOP:]
    return (torch.stack(frames) if frames else torch.zeros(0, WINDOW)), heard.clone()
""",
}


@pytest.fixture
def _library_as_it_was() -> Iterator[None]:
    yield
    for name in checks.__all__:
        if isinstance(exercise := getattr(checks, name), Exercise):
            exercise.restore()


def test_chapter_02_solved(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    _library_as_it_was: None,
) -> None:
    """With right answers every assertion of the chapter holds; a small random model stands in."""
    tokenizer = TextTokenizer.build(["seven", "three"])
    torch.manual_seed(0)
    model = InteractionModel(preset("pico").with_(vocab_size=tokenizer.size))
    with torch.no_grad():
        for parameter in model.backbone.parameters():  # some start at zero: the model would not hear at all
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_checkpoint(tmp_path / "checkpoints" / "nano", model, tokenizer, {})
    monkeypatch.setenv("TML_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(go.Figure, "show", lambda self: None)
    names: dict[str, Any] = {}
    for source in code_cells(ROOT / "notebooks" / "02_sound_to_dmel.ipynb"):
        if "raise NotImplementedError" in source:
            source = SOLVED_CH02[source.split("(")[0].removeprefix("def ")]
        exec(compile(source, "02_sound_to_dmel.ipynb", "exec"), names)
    assert capsys.readouterr().out.count("yours now runs inside tml_lab.signal.dmel") == 3
