"""A session's sound and pictures, read back from its journal: the memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.serve.journal import Journal
from tml_lab.serve.records import RecordError
from tml_lab.stream.recording import RecordingError
from tml_lab.stream.reels import Contents


@dataclass
class JournalReel:
    """The reel of a session that has a journal: the engine writes it, so that `write` only counts."""

    journal: Journal
    turns: int = 0
    pictures: bool = False

    def write(self, audio_in: np.ndarray, audio_out: np.ndarray, frames: np.ndarray | None) -> None:
        self.turns += 1
        self.pictures = self.pictures or frames is not None

    def contents(self) -> Contents:
        """Sound is read as a whole, pictures one turn at a time. Raises RecordingError."""
        heard, own = np.zeros((2, self.turns, TURN_SAMPLES), np.float32)
        try:
            for turn in range(self.turns):
                heard[turn] = self.journal.input(turn).sound
                own[turn] = self.journal.output(turn).result.audio
        except (OSError, RecordError, IndexError) as error:
            raise RecordingError(f"the journal of this session cannot be read: {error}") from error
        return heard.ravel(), own.ravel(), JournalFrames(self.journal, self.turns) if self.pictures else None

    def close(self) -> None: ...

    def copy(self) -> JournalReel:
        """What there is now, of the same journal: it shows no later turns."""
        return JournalReel(self.journal, self.turns, self.pictures)


class JournalFrames(Sequence["np.ndarray | None"]):
    """Pictures in a journal, read one turn at a time, as long as the session is open: uint8 [2, H, W, 3] or None."""

    def __init__(self, journal: Journal, turns: int) -> None:
        self.journal, self.turns = journal, turns

    def __len__(self) -> int:
        return self.turns

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return (self[turn] for turn in range(self.turns))

    def __getitem__(self, turn: int) -> np.ndarray | None:  # type: ignore[override]
        if not 0 <= turn < self.turns:
            raise IndexError(f"turn {turn} is outside the recording's {self.turns} turns")
        try:
            return self.journal.input(turn).frames
        except (OSError, RecordError, IndexError) as error:
            raise RecordingError(
                f"the pictures of turn {turn} are gone: save the recording while the session is open."
            ) from error
