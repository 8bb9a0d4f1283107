"""Notebooks and library are one: a cell marked `# lib: a.b.name` has that definition's syntax tree."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"#\s*lib:\s*([\w.]+)\s*$")
PACKAGES = {"tml_lab": ROOT, "tml_kernels": ROOT / "kernels", "tml_widgets": ROOT / "widgets"}


def marked_cells() -> list[tuple[str, str, str]]:
    """(notebook, dotted name, source) of every marked cell of every notebook."""
    found = []
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            mark = MARK.match(source.split("\n", 1)[0])
            if cell["cell_type"] == "code" and mark:
                found.append((path.relative_to(ROOT).as_posix(), mark[1], source))
    return found


def definition(name: str) -> ast.stmt:
    """The statement that defines `package.module.Name` or its `.method`, read from its file."""
    parts = name.split(".")
    for n in range(len(parts) - 1, 0, -1):
        module = (PACKAGES[parts[0]] / Path(*parts[:n])).with_suffix(".py")
        if module.is_file():
            body = ast.parse(module.read_text(encoding="utf-8")).body
            for part in parts[n:]:
                node = next(node for node in body if part in names_of(node))
                body = getattr(node, "body", [])
            return node
    raise LookupError(f"no module of this house defines {name}")


def names_of(node: ast.stmt) -> set[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def tree(node: ast.AST) -> str:
    """A syntax tree as text, without docstrings, comments and positions."""
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if not isinstance(inner, ast.FunctionDef | ast.ClassDef) or not isinstance(body, list):
            continue
        first = body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            inner.body = body[1:] or [ast.Pass()]
    return ast.dump(node)


@pytest.mark.parametrize(("notebook", "name", "source"), marked_cells(), ids=lambda value: str(value)[:60])
def test_cell_is_the_library(notebook: str, name: str, source: str) -> None:
    cell = ast.parse(source).body
    assert len(cell) == 1, f"{notebook}: the cell of {name} must hold one definition and nothing else"
    assert tree(cell[0]) == tree(definition(name)), f"{notebook}: the cell of {name} differs from the library"


def test_some_cells_are_marked() -> None:
    assert marked_cells(), "no notebook has a `# lib:` cell; is the mark still spelled so?"


def test_a_changed_cell_is_noticed_and_a_docstring_is_not() -> None:
    library = definition("tml_lab.signal.dmel.quantize")
    ours = "def quantize(values: Tensor) -> Tensor:\n    return torch.bucketize(values.float(), "
    same = ours + "BIN_EDGES.to(values.device)).to(torch.uint8)  # a comment"
    other = ours + "BIN_EDGES.to(values.device)).to(torch.int8)"
    assert tree(ast.parse(same).body[0]) == tree(library)
    assert tree(ast.parse(other).body[0]) != tree(library)
    with pytest.raises(LookupError, match="no module"):
        definition("tml_lab.nowhere.at_all")
