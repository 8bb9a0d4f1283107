"""Search over the course's own text: `search router`, or a larger model's `{"query": "router"}`.

Passages are ranked by BM25, by the library `bm25s`: maintained, a hundred kilobytes, and it needs numpy alone. The text
is read and indexed when something is first looked for, once in a process, in a thread; nothing is kept on the disk.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import numpy as np
from pydantic import Field, StringConstraints

from tml_lab.background.arguments import Plain, checked, checked_json
from tml_lab.background.calculator import ToolError
from tml_lab.background.panel import MAX_TEXT, Board, Table
from tml_lab.background.passages import ROOT, Passage, passages
from tml_lab.model.text import normalise_text

MAX_SAID = 120  # characters of what is read out
MAX_QUOTED = 600  # characters of each passage that a larger model is given
_READING = threading.Lock()  # two that search at once read the course once


class SearchArguments(Plain):
    """What to look for, and how many passages to give at most."""

    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    passages: int = Field(3, ge=1, le=10)


class Index:
    """Passages that can be ranked. Takes the words as the model has them: `fit_turn` is found by `fit turn`."""

    def __init__(self, read: Sequence[Passage]) -> None:
        from bm25s import BM25  # with numba behind it takes a second, which who never searches need not wait

        self.passages = list(read)
        self._bm25 = BM25()
        # the heading counts twice: a passage is about what stands there
        texts = [" ".join([one.document, one.title, one.title, one.text]) for one in self.passages]
        self._bm25.index(_words(texts), show_progress=False)

    def best(self, query: str, most: int) -> list[Passage]:
        """The passages that have words of the query, best first. Raises ToolError, in one sentence, for none."""
        (words,) = _words([query])
        if not words:
            raise ToolError(f"{query!r} holds no word to look for.")
        scores = self._bm25.get_scores(words)  # [passages]
        order = np.argsort(-scores, kind="stable")[:most]
        found = [self.passages[n] for n in order if scores[n] > 0]
        if not found:
            raise ToolError(f"nothing in the course's text is about {query!r}.")
        return found


@functools.cache
def _index(root: Path) -> Index:
    return Index(passages(root))


class Search:
    """Look something up in the text of this course: its chapters, documents and glossary."""

    name, arguments = "search", SearchArguments

    def __init__(self, board: Board | None = None, root: Path = ROOT) -> None:
        self.board, self.root = board or Board(), root

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """For words: the best passage in short. For a JSON object: the best passages, quoted. Both stand in a table.

        Raises ToolError in one sentence, and then nothing has changed.
        """
        as_json = request.lstrip().startswith("{")
        asked = checked_json(SearchArguments, request) if as_json else checked(SearchArguments, query=request)
        found = await asyncio.to_thread(self.find, asked)
        rows = [tuple(shorten(cell, MAX_TEXT) for cell in (p.place, p.text, p.link)) for p in found]
        title = shorten(f"found: {asked.query}", MAX_TEXT)
        self.board.put(Table, self.name, title=title, columns=("where", "begins", "link"), rows=rows)
        yield "\n".join(map(_quoted, found)) if as_json else shorten(found[0].short, MAX_SAID, placeholder="")

    def find(self, asked: SearchArguments) -> list[Passage]:
        """The best passages, best first. Raises ToolError in one sentence."""
        try:
            with _READING:
                index = _index(self.root)
        except FileNotFoundError as error:
            raise ToolError(str(error)) from error
        except ImportError as error:
            raise ToolError("searching needs the package bm25s: pip install bm25s") from error
        return index.best(asked.query, asked.passages)


def _words(texts: Sequence[str]) -> list[list[str]]:
    from bm25s import tokenize

    plain = [normalise_text(text.replace("_", " ")) for text in texts]
    return tokenize(plain, stopwords="en", return_ids=False, show_progress=False)  # pyright: ignore[reportReturnType]


def _quoted(passage: Passage) -> str:
    return f"{passage.place} ({passage.link}): {shorten(passage.text, MAX_QUOTED)}"
