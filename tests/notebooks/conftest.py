"""What the chapters' tests share: running one, a small model under the name nano, the library as it was afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from tml_lab.config import preset
from tml_lab.course import checks
from tml_lab.model.checkpoint import checkpoint_dir, save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.worlds.humans import recordings_dir
from tml_lab.worlds.vocabulary import closed_world

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
RunChapter = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No figure is drawn; afterwards the library has its own functions again, and torch its threads."""
    monkeypatch.setattr(go.Figure, "show", lambda self: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in checks.__all__:
        getattr(checks, name).restore()


@pytest.fixture
def run_chapter(
    as_it_was: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> RunChapter:
    """`run_chapter(notebook, solved)` runs all code cells, with the stubs as they are or each as its solution.

    Returns what was printed, and the chapter's names.
    """

    def run(notebook: str, solved: bool = False) -> tuple[str, dict[str, Any]]:
        monkeypatch.setenv("TML_SOLVED", str(int(solved)))
        cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
        names: dict[str, Any] = {"__name__": "__main__"}
        for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
            exec(compile(source, notebook, "exec"), names)
        return capsys.readouterr().out, names

    return run


@pytest.fixture
def small_nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_it_was: None) -> None:
    """A random pico model under the name nano; the demo recordings and the shipped `nano-everything` beside it."""
    demo = recordings_dir()
    tokenizer = TextTokenizer.build(closed_world())
    torch.manual_seed(0)
    model = InteractionModel(preset("pico").with_(vocab_size=tokenizer.size))
    with torch.no_grad():
        for parameter in model.backbone.parameters():  # some start at zero: nothing would pass from layer to layer
            parameter.add_(0.05 * torch.randn_like(parameter))
    everything = checkpoint_dir("nano-everything")
    save_checkpoint(tmp_path / "checkpoints" / "nano", model, tokenizer, {})
    (tmp_path / "checkpoints" / "nano-everything").symlink_to(everything)
    (tmp_path / "recordings").symlink_to(demo)
    monkeypatch.setenv("TML_LAB_DATA", str(tmp_path))
