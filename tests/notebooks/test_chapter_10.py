"""Chapter 10 with every puzzle solved, with none, and where there is no Triton; on a small random model."""

from __future__ import annotations

import json
import linecache
from pathlib import Path
from typing import Any

import pytest

from tml_kernels import rmsnorm
from tml_lab.course import checks

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "10_triton_puzzles.ipynb"


def run() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        # Triton reads a kernel's source from its file
        place = f"{NOTEBOOK.name}, cell {number}"
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        exec(compile(source, place, "exec"), names)


@pytest.mark.skipif(not rmsnorm.triton_available(), reason="Triton is not installed (Linux only, extra `kernels`)")
@pytest.mark.parametrize("solved", [True, False])
def test_chapter_10(
    solved: bool, small_nano: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TML_SOLVED", str(int(solved)))
    run()
    out = capsys.readouterr().out
    assert out.count("yours now runs inside") == (3 if solved else 0)
    assert out.count("not started") == (0 if solved else 3)


def test_without_triton_the_chapter_runs_on(
    small_nano: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rmsnorm, "triton_available", lambda: False)
    for name in checks.__all__:
        if getattr(checks, name).needs:
            monkeypatch.setattr(getattr(checks, name), "needs", "a_package_that_nobody_has")
    run()
    assert capsys.readouterr().out.count("not checked") == 3
