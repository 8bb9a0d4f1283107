"""Glossary and notation: every word is explained where the page says, every number is the nano's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tml_lab import config
from tml_lab.config import preset
from tml_lab.course.chapters import chapter

ROOT = Path(__file__).parents[2]


def rows(page: str) -> list[list[str]]:
    """The cells of a page's table, without its head."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]


def prose(number: str) -> str:
    if number == "inside":
        return (ROOT / "docs" / "inside.md").read_text(encoding="utf-8").lower()
    path = ROOT / "notebooks" / chapter(number).file
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]).lower()


@pytest.mark.parametrize(("word", "_meaning", "number"), rows("glossary.md"), ids=lambda value: value[:20])
def test_the_chapter_uses_the_word(word: str, _meaning: str, number: str) -> None:
    text = prose(number)
    for part in word.strip("`").lower().split(", "):
        assert part.replace("-", " ") in text.replace("-", " "), f"{number} does not speak of {part!r}"


def test_the_glossary_is_in_order() -> None:
    words = [row[0].strip("`").lower() for row in rows("glossary.md")]
    assert words == sorted(words)


def test_numbers_in_the_notation_are_the_nanos() -> None:
    cfg = preset("nano")
    for names, _, values in rows("notation.md"):
        numbers = [value.strip() for value in values.split(",")]
        for name, value in zip(re.findall(r"`(\w+)`", names), numbers, strict=False):
            known = getattr(cfg, name, getattr(config, name, None))
            if value:
                assert known is not None and float(value) == known, f"{name} is {known}, not {value}"
