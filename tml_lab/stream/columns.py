"""Columns that grow without end in bounded memory: the recent rows in memory, what is older in a temporary folder.

A row, once appended, never changes. So a file only grows at its end, and a copy (a fork) shares the rows that are
there: it reads the first ones from its parent's file and writes the others into one of its own.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = 1 << 20  # bytes of a column that stay in memory
BLOCKS = 8  # in which they lie: one is written out at a time


class Spill:
    """A temporary folder, made when something is first written there, removed with the last who could read it."""

    def __init__(self) -> None:
        self._files = 0
        self.failed = False

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        # Windows cannot remove a file that a recording still has mapped
        return tempfile.TemporaryDirectory(prefix="tml-session-", ignore_cleanup_errors=True)

    def new_file(self) -> Path:
        """A path of its own in the folder."""
        self._files += 1
        return Path(self._folder.name) / f"{self._files}.rows"

    def write(self, path: Path, at: int, rows: np.ndarray) -> bool:
        """Write rows from byte `at` on; False, and a warning once, when the disk does not take it: memory has to."""
        try:
            with path.open("r+b" if at else "wb") as file:
                file.seek(at)  # what a failed write left behind is written over
                rows.tofile(file)
            return True
        except OSError as error:
            if not self.failed:
                warnings.warn(
                    f"the temporary folder takes no more of the recording ({error.strerror or error}): it stays in "
                    "memory; set TMPDIR to a roomier disk, or record into a folder.",
                    stacklevel=2,
                )
            self.failed = True
            return False


@dataclass
class Part:
    """The first `rows` rows of a file, and the folder that must live as long as they are read."""

    spill: Spill
    path: Path
    rows: int
    _seen: list[np.ndarray] = field(default_factory=list)

    def rows_of(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """All of them, `[rows, *shape]`, mapped from disk."""
        if not self._seen or len(self._seen[0]) < self.rows:
            self._seen = [np.memmap(self.path, dtype, "r", shape=(self.rows, *shape))]
        return self._seen[0][: self.rows]


class Column:
    """A growing array of rows of one type.

    Args:
        dtype, shape: of one row.
        spill: where rows go that memory has no room for.
        memory: bytes that may stay in memory.
        zeros: rows of zeros before the first one that is appended; they take no room.
    """

    def __init__(
        self, dtype: Any, shape: tuple[int, ...], spill: Spill, memory: int = MEMORY, zeros: int = 0
    ) -> None:
        self.dtype, self.shape, self.spill, self.zeros = np.dtype(dtype), shape, spill, zeros
        self.block = max(1, memory // BLOCKS // (self.dtype.itemsize * int(np.prod(shape, dtype=int))))  # rows
        self.parts: list[Part] = []
        self.own: Part | None = None  # of the parts the last one, to which this column alone may append
        self.spilled = 0  # rows in the parts
        self.blocks: deque[np.ndarray] = deque()  # of `block` rows each; a full one is never written to again
        self.filled = 0  # rows of the last block that are there
        self._lock = threading.RLock()  # one thread appends; others may read

    def __len__(self) -> int:
        return self.zeros + self.spilled + self._held

    @property
    def _held(self) -> int:
        return max(0, len(self.blocks) - 1) * self.block + self.filled

    def append(self, row: Any) -> None:
        """Add one row, a copy of it."""
        with self._lock:
            if not self.blocks or self.filled == self.block:
                if len(self.blocks) > BLOCKS and self._write(self.blocks[0]):
                    self.blocks.popleft()
                self.blocks.append(np.empty((self.block, *self.shape), self.dtype))
                self.filled = 0
            self.blocks[-1][self.filled] = row
            self.filled += 1

    def extend(self, rows: np.ndarray) -> None:
        """Add several."""
        for row in rows:
            self.append(row)

    def _write(self, rows: np.ndarray) -> bool:
        if self.own is None:
            self.own = Part(self.spill, self.spill.new_file(), 0)
            self.parts.append(self.own)
        if not self.spill.write(self.own.path, self.own.rows * rows[0].nbytes, rows):
            return False
        self.own.rows += len(rows)
        self.spilled += len(rows)
        return True

    def array(self) -> np.ndarray:
        """All rows, `[rows, *shape]`. What went to one file is all written there and mapped; otherwise it is copied."""
        with self._lock:
            return self._array()

    def _array(self) -> np.ndarray:
        if self.spilled:
            while self.blocks:  # so that hours of sound need not be copied
                last = len(self.blocks) == 1
                if not self._write(self.blocks[0][: self.filled if last else None]):
                    break
                self.blocks.popleft()
            self.filled = self.filled if self.blocks else 0
        pieces = [np.zeros((self.zeros, *self.shape), self.dtype)] if self.zeros else []
        pieces += [part.rows_of(self.dtype, self.shape) for part in self.parts if part.rows]
        pieces += list(self.blocks)[:-1] + [self.blocks[-1][: self.filled]] if self.blocks else []
        none = np.zeros((0, *self.shape), self.dtype)
        return pieces[0] if len(pieces) == 1 else np.concatenate([none, *pieces])

    def take(self, index: np.ndarray) -> np.ndarray:
        """Some rows, `[len(index), *shape]`; those in memory cost no reading."""
        out = np.zeros((len(index), *self.shape), self.dtype)
        index = index - self.zeros
        with self._lock:
            start = 0
            for part in self.parts:
                here = (index >= start) & (index < start + part.rows)
                if here.any():
                    out[here] = part.rows_of(self.dtype, self.shape)[index[here] - start]
                start += part.rows
            block, row = np.divmod(index - self.spilled, self.block)
            for which in np.unique(block[index >= self.spilled]):
                out[block == which] = self.blocks[which][row[block == which]]
        return out

    def part(self, first: int, end: int | None = None) -> np.ndarray:
        """The rows `[first, end)`; None: to the last."""
        return self.take(np.arange(first, len(self) if end is None else end))

    def copy(self, spill: Spill) -> Column:
        """A column that begins with the same rows and goes on by itself, into `spill`."""
        twin = Column(self.dtype, self.shape, spill, zeros=self.zeros)
        with self._lock:
            twin.block, twin.spilled, twin.filled = self.block, self.spilled, self.filled
            twin.parts = [Part(part.spill, part.path, part.rows) for part in self.parts]
            twin.blocks = deque(self.blocks)
            if twin.blocks:
                twin.blocks[-1] = twin.blocks[-1].copy()
        return twin
