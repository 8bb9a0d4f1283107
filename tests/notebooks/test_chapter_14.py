"""Chapter 14 with every exercise solved, on the shipped nano: its claims are about what that model does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from tml_lab.course import checks

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "14_why_did_it_speak.ipynb"
SOLVED = {
    "lens_difference": """
def lens_difference(resid, norm_weight, eps, direction):
    return torch.nn.functional.rms_norm(resid, resid.shape[-1:], norm_weight, eps) @ direction
""",
    "pool": """
def pool(pattern, cell, n_cells):
    return pattern @ torch.nn.functional.one_hot(cell, n_cells).to(pattern.dtype)
""",
    "cut_rows": """
def cut_rows(pattern, gone):
    left = torch.where(gone, 0.0, pattern)
    total = left.sum(-1, keepdim=True)
    return torch.where(gone.any(-1)[:, None], left / torch.where(total > 0, total, 1.0), pattern)
""",
    "restored": """
def restored(patched, clean, corrupt):
    return (patched - corrupt) / (clean - corrupt)
""",
}


@pytest.fixture
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(go.Figure, "show", lambda self: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in checks.__all__:
        getattr(checks, name).restore()


@pytest.mark.slow
def test_chapter_14_solved(_as_it_was: None, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        if "raise NotImplementedError" in source:
            source = SOLVED[source.split("(")[0].removeprefix("def ")]
        exec(compile(source, NOTEBOOK.name, "exec"), names)
    out = capsys.readouterr().out
    assert out.count("yours now runs inside") == 4 and "not started" not in out
