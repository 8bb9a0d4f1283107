"""The course's text in passages: what stands where, without its markup, and what is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tml_lab.background.passages import ROOT, Passage, passages

CELLS = [
    ("markdown", ["# 05 Mixture of experts\n", "\n", "| | |\n", "|---|---|\n", "| You build | a *router* |\n"]),
    ("code", ["# no heading\n", "secret = 1\n"]),
    ("markdown", ["![a map](maps/05.svg)\n", "\n", "## Route `a` token\n", "**One** by\n", "one.\n\n$$x = 1$$"]),
    ("markdown", ["And on.\n", "\n", "```\n", "# a drawing --->\n", "```\n"]),
]
GLOSSARY = """# Glossary

One word for one thing.

| Word | What it means | Chapter |
|---|---|---|
| router | scores experts; see `top_k` | 05 |
| sink | takes what nobody wants | 04 |

The end.
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A README, a glossary, one chapter and its solution."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    (tmp_path / "README.md").write_text("Above.\n\n# Lab\n\nText.\n\n## The commands: all\n\n```bash\nmake lab\n```\n")
    (tmp_path / "docs" / "glossary.md").write_text(GLOSSARY)
    cells = [{"cell_type": kind, "source": source} for kind, source in CELLS]
    for name in ("05_mixture.ipynb", "solutions/05_mixture.ipynb"):
        (tmp_path / "notebooks" / name).write_text(json.dumps({"cells": cells}))
    return tmp_path


def test_each_heading_and_each_word_of_the_glossary_is_a_passage(course: Path) -> None:
    chapter, glossary = "05 Mixture of experts", "docs/glossary.md"
    assert passages(course) == [
        Passage("README.md", "README.md", "Above.", "README.md"),
        Passage("Lab", "Lab", "Text.", "README.md#lab"),
        Passage("Lab", "The commands: all", "make lab", "README.md#the-commands-all"),
        Passage("Glossary", "router", "scores experts; see top_k", glossary),
        Passage("Glossary", "sink", "takes what nobody wants", glossary),
        Passage("Glossary", "Glossary", "One word for one thing. The end.", glossary + "#glossary"),
        Passage(chapter, chapter, "You build a router", "notebooks/05_mixture.ipynb#05-Mixture-of-experts"),
        Passage(chapter, "Route a token", "One by one. And on.", "notebooks/05_mixture.ipynb#Route-a-token"),
    ]


def test_where_a_passage_stands_and_what_is_said_of_it(course: Path) -> None:
    found = {one.title: one for one in passages(course)}
    titles = ("router", "Route a token", "05 Mixture of experts", "The commands: all")
    assert [found[title].short for title in titles] == [
        "router: scores experts",
        "chapter 5: Route a token",
        "chapter 5: Mixture of experts",
        "Lab: The commands: all",
    ]
    assert found["Route a token"].place == "05 Mixture of experts: Route a token" and found["Lab"].place == "Lab"


def test_a_notebook_that_cannot_be_read_is_left_out(course: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = passages(course)
    for number, text in enumerate(('{"cells": [', "{}", "[]", '{"cells": [{"cell_type": "markdown"}]}')):
        (course / "notebooks" / f"9{number}_torn.ipynb").write_text(text)
    assert passages(course) == whole and caplog.text.count("left out of the search") == 4


def test_where_the_course_is_not_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Another project\n")
    with pytest.raises(FileNotFoundError, match=r"the course's text is not in .*: only a checkout"):
        passages(tmp_path)


def test_the_whole_course_is_there_and_every_link_leads_to_a_heading() -> None:
    found = passages()
    chapters = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert chapters == {Path(one.link.split("#")[0]).stem for one in found if re.match(r"notebooks/\d", one.link)}
    assert not any("solutions" in one.link or "|---" in one.text for one in found)
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert sum(one.link == "docs/glossary.md" for one in found) == glossary.count("\n| ") - 1  # but its head
    for one in found:
        path, _, anchor = one.link.partition("#")
        assert (ROOT / path).is_file() and one.text and bool(anchor) == (one.link != "docs/glossary.md"), one
        if path.endswith(".ipynb"):
            cells = json.loads((ROOT / path).read_text("utf-8"))["cells"]
            text = "".join(line for cell in cells for line in cell["source"])
            assert f"# {anchor.replace('-', ' ')}" in re.sub(r"[`*]", "", text).replace("-", " ")
