"""The map of the model, and the table of contents: whole, true to the notebooks, the same in every chapter."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tml_lab.course import checks, progress
from tml_lab.course.chapters import CHAPTERS, Chapter
from tml_lab.course.model_map import PARTS, alt_text, draw, linked, lit_in

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SVG = "{http://www.w3.org/2000/svg}"
REDRAW = "run python -m tml_lab.course.model_map notebooks/maps"


def prose(name: str) -> str:
    cells = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.number)
def test_each_card_has_the_map_with_its_part_lit(chapter: Chapter) -> None:
    drawn = draw(lit_in(chapter.number), alt_text(chapter.number))
    assert (NOTEBOOKS / "maps" / f"{chapter.number}.svg").read_text(encoding="utf-8") == drawn, REDRAW
    card = prose(chapter.file)
    assert card.startswith(f"# {chapter.number} {chapter.title}")
    assert f"![{alt_text(chapter.number)}](maps/{chapter.number}.svg)" in card


@pytest.mark.parametrize("chapter", CHAPTERS[1:], ids=lambda c: c.number)
def test_each_chapter_has_a_part_and_says_how_long_it_takes(chapter: Chapter) -> None:
    assert lit_in(chapter.number)
    said = re.search(r"\| Minutes \| (\d+) to read and solve; ", prose(chapter.file))
    assert said and int(said[1]) == chapter.minutes


def test_no_box_covers_another_and_all_lie_on_the_map() -> None:
    root = ElementTree.fromstring(draw(set()))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for part in PARTS:
        assert part.x >= 0 and part.x + part.width <= width and part.y + part.height <= height
        for other in PARTS:
            apart = (
                part is other
                or part.x + part.width <= other.x
                or other.x + other.width <= part.x
                or part.y + part.height <= other.y
                or other.y + other.height <= part.y
            )
            assert apart, f"{part.name} covers {other.name}"


def test_lit_parts_are_lit_and_no_others() -> None:
    plain, lit = (draw(parts).count('fill="#0072B2"') for parts in (set(), {"dmel", "sight"}))
    assert (plain, lit) == (0, 2)
    with pytest.raises(ValueError, match="no part 'nose'"):
        draw({"nose"})
    assert ElementTree.fromstring(draw({"dmel"})).findtext(f"{SVG}title") == "The map of the model"


def test_the_linked_map_leads_everywhere_and_ticks_what_is_solved() -> None:
    progress.forget()
    assert "✓" not in linked()
    for name in checks.__all__:
        if name.startswith("ch15_"):
            progress.solved(name)
    page = linked()
    progress.forget()
    assert page.count("✓") == 1 and page.count("<a ") == len(PARTS)
    assert {f'href="{c.file}"' in page for c in CHAPTERS[1:]} == {True}


def test_the_index_lists_every_chapter() -> None:
    index = prose("index.ipynb")
    for chapter in CHAPTERS:
        assert f"[{chapter.title}]({chapter.file}) | {chapter.about} | {chapter.minutes} |" in index


def test_every_link_of_a_notebook_leads_somewhere() -> None:
    broken = []
    for path in NOTEBOOKS.rglob("*.ipynb"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(path.relative_to(NOTEBOOKS).as_posix())):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.name} -> {target}")
    assert not broken, "\n" + "\n".join(broken)
