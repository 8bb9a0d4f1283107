"""Every chapter has the same anatomy, cells that fit the eye, and words for every figure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tml_lab.course.chapters import CHAPTERS, Chapter

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ALL = sorted(path.relative_to(NOTEBOOKS).as_posix() for path in NOTEBOOKS.rglob("*.ipynb"))
LONGEST_CELL, LONGEST_PARAGRAPH = 25, 6  # lines
WHOLE = {"# lib: tml_kernels.matmul._build_kernel"}  # one kernel, shown as it is
ORDER = (
    "The result first", "Why", "A toy by hand", "Exercise|Puzzle", "The library's version", "Break it",
    "Into the running|Train it", "The invariant", "Questions", "Further reading and next",
)  # fmt: skip


def cells(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]
    return [{"type": cell["cell_type"], "text": "".join(cell["source"])} for cell in found]


@pytest.mark.parametrize("chapter", CHAPTERS[1:], ids=lambda c: c.number)
def test_the_sections_come_in_their_order(chapter: Chapter) -> None:
    prose = [cell["text"] for cell in cells(chapter.file) if cell["type"] == "markdown"]
    heads = [line[3:] for text in prose for line in text.splitlines() if line.startswith("## ")]
    at = -1
    for wanted in ORDER:
        found = [i for i, head in enumerate(heads) if re.match(wanted, head) and i > at]
        assert found, f"no section {wanted!r} after {heads[at] if at >= 0 else 'the card'!r}; there are {heads}"
        at = found[0]
    card = prose[0]
    assert all(f"| {row} |" in card for row in ("You build", "You need", "Minutes")), card
    assert "Next" in prose[-1] or "next" in prose[-1]


@pytest.mark.parametrize("name", ALL)
def test_cells_and_paragraphs_fit_the_eye(name: str) -> None:
    for cell in cells(name):
        first, *_ = lines = cell["text"].split("\n") if cell["text"] else [""]
        if cell["type"] == "code":
            own = len(lines) - first.startswith("# lib:")
            assert own <= LONGEST_CELL or first in WHOLE, f"{own} lines: {first}"
            continue
        for paragraph in re.sub(r"```.*?```", "", cell["text"], flags=re.S).split("\n\n"):
            long = paragraph.strip("\n").split("\n")
            if not long[0].lstrip().startswith(("|", "- ", "* ", "1. ", "$$")):
                assert len(long) <= LONGEST_PARAGRAPH, f"{len(long)} lines: {long[0]}"


@pytest.mark.parametrize("name", ALL)
def test_every_figure_has_words(name: str) -> None:
    """A paragraph `*Figure: ...*` stands before or after the cell that draws it, one code cell away at most."""
    every = cells(name)
    for i, cell in enumerate(every):
        if cell["type"] == "code" and ".show()" in cell["text"]:
            near = "\n".join(other["text"] for other in every[max(0, i - 2) : i + 3] if other["type"] == "markdown")
            assert "*Figure" in near, f"no words for the figure of: {cell['text'][:60]}"
