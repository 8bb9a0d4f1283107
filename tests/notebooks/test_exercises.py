"""Exercises in notebooks: a stub, then its check; a solved chapter runs from first cell to last."""

from __future__ import annotations

import ast
import inspect
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tml_lab.course import checks
from tml_lab.course.exercise import Exercise

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
