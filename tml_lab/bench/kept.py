"""The result of a run, in its file from the first benchmark on: an interrupted run goes on behind what is done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tml_lab.stream.whole_file import whole_file

UNFINISHED = "unfinished"
SAME = ("checkpoint", "seed", "n")  # what must be equal for rows of another run to stand beside this one's


class KeptResult:
    """A run's rows, written to `path` after every benchmark.

    A file that says of itself that it is unfinished, of the same checkpoint, seed and number of items, is taken up; any
    other one is written over.

    Args:
        path: JSON; None keeps nothing.
        about: the result without its rows: date, machine, checkpoint, seed, n.
        afresh: take nothing up.
    """

    def __init__(self, path: str | Path | None, about: dict[str, Any], afresh: bool = False) -> None:
        self.path = None if path is None else Path(path)
        self.result: dict[str, Any] = {**about, "results": []}
        earlier = None if afresh else self._earlier()
        if earlier is not None:
            self.result["results"] = earlier["results"]

    def _earlier(self) -> dict[str, Any] | None:
        if self.path is None or not self.path.is_file():
            return None
        try:
            earlier = json.loads(self.path.read_text())
            unfinished = earlier.get(UNFINISHED) and all(earlier[key] == self.result[key] for key in SAME)
            return earlier if unfinished else None
        except (ValueError, KeyError, AttributeError):  # not a result
            return None

    def rows(self, benchmark: str, split: str, players: Sequence[str]) -> list[dict[str, Any]] | None:
        """What is there of a benchmark, if all these players have played it."""
        mine = [row for row in self.result["results"] if (row["benchmark"], row["split"]) == (benchmark, split)]
        return mine if [row["row"] for row in mine] == list(players) else None

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Keep a benchmark's rows, in the place of what was there of it."""
        new = {(row["benchmark"], row["split"]) for row in rows}
        kept = [row for row in self.result["results"] if (row["benchmark"], row["split"]) not in new]
        self.result["results"] = [*kept, *rows]
        self._write({**self.result, UNFINISHED: True})

    def finish(self) -> dict[str, Any]:
        """The whole result, written as such."""
        self._write(self.result)
        return self.result

    def _write(self, result: dict[str, Any]) -> None:
        if self.path is None:
            return
        with whole_file(self.path, "the results") as scratch:
            scratch.write_text(json.dumps(result, indent=1) + "\n")
