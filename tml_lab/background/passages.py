"""The course's own text in passages: what stands under one heading, or one word of the glossary.

    passages(root)      the chapters and probes (their prose, not their code), docs/, and the README

Solutions are left out: who searches should not find them by accident.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
WHERE = ("README.md", "docs/*.md", "notebooks/*.ipynb", "notebooks/probe/*.ipynb")
GLOSSARY = "docs/glossary.md"
_MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Passage:
    """A piece of the course's text.

    Args:
        document: the title of the text that it stands in: `05 Mixture of experts`.
        title: its heading, or the word that is explained.
        text: without markup.
        link: the file from the repository's root on, and the heading in it where there is one.
    """

    document: str
    title: str
    text: str
    link: str

    @property
    def place(self) -> str:
        """Where it stands: `05 Mixture of experts: Route a token`."""
        return self.document if self.document == self.title else f"{self.document}: {self.title}"

    @property
    def short(self) -> str:
        """What can be said of it in one breath: what a word means, or else where it stands."""
        if self.link == GLOSSARY:
            return f"{self.title}: {self.text.split(';')[0]}"
        number = re.match(r"(\d\d) ", self.document)
        if number is None:
            return self.place
        return f"chapter {int(number[1])}: {self.title.removeprefix(number[0])}"


def passages(root: Path = ROOT) -> list[Passage]:
    """All of them, file by file. Raises FileNotFoundError, in one sentence, where the course is not."""
    files = [path for pattern in WHERE for path in sorted(root.glob(pattern))]
    if not any(path.suffix == ".ipynb" for path in files):
        raise FileNotFoundError(f"the course's text is not in {root}: only a checkout of the repository has it.")
    found = []
    for path in files:
        try:
            found += _passages(path, path.relative_to(root).as_posix())
        except (OSError, ValueError, KeyError, TypeError):  # a notebook that somebody is at work on
            log.warning("%s cannot be read: it is left out of the search.", path)
    return found


def _passages(path: Path, name: str) -> Iterator[Passage]:
    tokens = _MARKDOWN.parse(_prose(path))
    document = name
    for level, title, body in _sections(tokens):
        if level == 1:
            document = title
        if name == GLOSSARY:
            for word, meaning, *_ in _rows(body):
                yield Passage(document, word, meaning, name)
            body = [token for token in body if token.type == "inline" and token.level < 3]  # what is not in the table
        if text := _text(body):
            yield Passage(document, title or document, text, name + _anchor(title, path.suffix))


def _prose(path: Path) -> str:
    """The Markdown of a file; a notebook's cells are one text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def _sections(tokens: Sequence[Token]) -> Iterator[tuple[int, str, list[Token]]]:
    """The level of each heading, its words, and what stands below it; level 0: what stands above the first."""
    starts = [n for n, token in enumerate(tokens) if token.type == "heading_open"]
    yield 0, "", list(tokens[: starts[0] if starts else None])
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        yield int(tokens[start].tag[1:]), _plain(tokens[start + 1]), list(tokens[start + 3 : end])


def _rows(tokens: Sequence[Token]) -> Iterator[list[str]]:
    """The cells of each row of a table, but its head."""
    row: list[str] = []
    for before, token in itertools.pairwise(tokens):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline" and before.type == "td_open":
            row.append(_plain(token))
        elif token.type == "tr_close" and row:
            yield row


def _text(tokens: Sequence[Token]) -> str:
    """Prose, tables and commands; no drawings in letters, no equations that stand alone."""
    pieces = [
        _plain(token) if token.type == "inline" else token.content
        for token in tokens
        if (token.type == "inline" and not token.content.startswith("$$")) or (token.type == "fence" and token.info)
    ]
    return " ".join(" ".join(pieces).split())


def _plain(inline: Token) -> str:
    """Words without their markup; of a picture nothing."""
    parts = [part for part in inline.children or () if part.type != "image"]
    return "".join(" " if part.type in ("softbreak", "hardbreak") else part.content for part in parts)


def _anchor(title: str, suffix: str) -> str:
    """How a heading is linked to: as JupyterLab does in a notebook, as code hosts do in Markdown."""
    if not title:
        return ""
    if suffix == ".ipynb":
        return "#" + title.replace(" ", "-")
    return "#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
