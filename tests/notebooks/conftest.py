"""What the chapters' tests share: a small model under the name nano, and a library as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def small_nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A random pico model under the name nano, the demo recordings beside it, figures not drawn."""
    demo = recordings_dir()
    tokenizer = TextTokenizer.build(closed_world())
    torch.manual_seed(0)
    model = InteractionModel(preset("pico").with_(vocab_size=tokenizer.size))
    with torch.no_grad():
        for parameter in model.backbone.parameters():  # some start at zero: nothing would pass from layer to layer
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_checkpoint(tmp_path / "checkpoints" / "nano", model, tokenizer, {})
    (tmp_path / "recordings").symlink_to(demo)
    monkeypatch.setenv("TML_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(go.Figure, "show", lambda self: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in checks.__all__:
        getattr(checks, name).restore()
