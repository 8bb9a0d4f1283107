"""The first notebook runs headless, on a small random model as well, and twice in one kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tml_lab.config import preset
from tml_lab.model.checkpoint import save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.worlds.humans import recordings_dir
from tml_lab.worlds.vocabulary import closed_world

pytest.importorskip("anywidget")
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_runs_twice_in_one_kernel(tmp_path, monkeypatch, capsys):
    demo = recordings_dir()
    tokenizer = TextTokenizer.build(closed_world())
    torch.manual_seed(0)
    # Random weights under the name nano, with the six layers of the nano: the first cell watches L5H0.
    cfg = preset("pico").with_(n_layers=6, global_every=6, vocab_size=tokenizer.size)
    save_checkpoint(tmp_path / "checkpoints" / "nano", InteractionModel(cfg), tokenizer, {})
    (tmp_path / "recordings").symlink_to(demo)
    monkeypatch.setenv("TML_LAB_DATA", str(tmp_path))
    monkeypatch.setenv("TML_HEADLESS", "1")
    names: dict[str, object] = {}
    for source in code_cells()[:2] + code_cells():
        exec(compile(source, NOTEBOOK.name, "exec"), names)
    out = capsys.readouterr().out
    assert out.count("asked:  repeat every number you hear") == 2
    assert "heard:  seven two nine four eleven" in out
    assert names["recording"].turns == names["again"].turns > 50  # type: ignore[attr-defined]


def test_stripped():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None
        for cell in cells
        if cell["cell_type"] == "code"
    )
