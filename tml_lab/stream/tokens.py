"""The token table: what every position of the sequence is, when it was heard or is played, and its label.

Every view, cache and edit addresses positions through this table, so that "the second audio frame of turn
21" is looked up and never computed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN, TURN_SECONDS
from tml_lab.stream.clock import TURNS_PER_SECOND, Clock, heard_span, played_span
from tml_lab.stream.layout import STREAM_NAMES as STREAMS

STREAM_LABELS = {
    "text_in": "typed", "video_in": "seen", "audio_in": "heard", "text_out": "said", "audio_out": "own voice",
}  # fmt: skip
"""The words a person reads for each stream."""

CLOCKS = {stream: Clock.PLAYED if stream.endswith("_out") else Clock.HEARD for stream in STREAMS}
_CODE = {stream: code for code, stream in enumerate(STREAMS)}
_PARTS = {
    "audio_in": FRAMES_PER_TURN,
    "audio_out": OUT_TOKENS_PER_TURN,
}  # positions that share out the turn's 0.2 s


@dataclass(frozen=True)
class Token:
    """One position of the sequence. `start`, `end` are seconds on `clock`, half-open."""

    position: int
    stream: str
    turn: int
    slot: int
    clock: str
    start: float
    end: float
    label: str
    token_id: int | None


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Columns of equal length, one row per position.

    Args:
        stream: uint8 [positions], index into STREAMS.
        turn: int32 [positions].
        slot: int32 [positions], counts within the turn: `(turn, slot)` names a position.
        token_id: int32 [positions], -1 where the position holds a sound or a picture and no vocabulary entry.
        names: vocabulary id -> text, for the ids that occur.
    """

    stream: np.ndarray
    turn: np.ndarray
    slot: np.ndarray
    token_id: np.ndarray
    names: dict[int, str]

    def __len__(self) -> int:
        return len(self.turn)

    def __iter__(self) -> Iterator[Token]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, position: int) -> Token:
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} is outside the recording's {len(self)} positions")
        position %= len(self)
        stream, turn = STREAMS[self.stream[position]], int(self.turn[position])
        slot, token_id = int(self.slot[position]), int(self.token_id[position])
        clock = CLOCKS[stream]
        start, end = heard_span(turn) if clock is Clock.HEARD else played_span(turn)
        rank = int(self.rank[position])
        if stream in _PARTS:
            part = TURN_SECONDS / _PARTS[stream]
            start, end = (
                start + rank * part,
                (end if rank == _PARTS[stream] - 1 else start + (rank + 1) * part),
            )
        return Token(
            position, stream, turn, slot, clock.value, start, end,
            self._label(stream, rank, token_id), None if token_id < 0 else token_id,
        )  # fmt: skip

    @cached_property
    def rank(self) -> np.ndarray:
        """int64 [positions]: how many earlier positions of the same turn belong to the same stream."""
        change = np.flatnonzero(np.diff(self.turn.astype(np.int64) * len(STREAMS) + self.stream, prepend=-1))
        # A turn lays its streams out one after the other, so a run of equal (turn, stream) is a group.
        return np.arange(len(self)) - np.repeat(change, np.diff(change, append=len(self)))

    def _label(self, stream: str, rank: int, token_id: int) -> str:
        if token_id >= 0:
            return self.names.get(token_id, f"token {token_id}")
        if stream == "video_in":
            return f"patch {rank + 1}"
        return f"{STREAM_LABELS[stream]} {rank + 1}/{_PARTS[stream]}"

    def where(self, stream: str | None = None, turn: int | None = None) -> np.ndarray:
        """Positions (int64 [k], ascending) of one stream, of one turn, or of both."""
        if stream is not None and stream not in _CODE:
            raise ValueError(f"no stream is called {stream!r}; choose one of {', '.join(STREAMS)}")
        keep = np.ones(len(self), bool)
        if stream is not None:
            keep &= self.stream == _CODE[stream]
        if turn is not None:
            keep &= self.turn == turn
        return np.flatnonzero(keep)

    @cached_property
    def starts(self) -> np.ndarray:
        """float64 [positions]: the second at which each begins, on its own stream's clock (see `Token.start`)."""
        played = np.isin(self.stream, [code for code, name in enumerate(STREAMS) if CLOCKS[name] is Clock.PLAYED])
        parts = np.array([_PARTS.get(name, 0) for name in STREAMS])[self.stream]  # [positions]
        within = np.divide(self.rank, parts, out=np.zeros(len(self)), where=parts > 0)
        return (self.turn + played) / TURNS_PER_SECOND + within * TURN_SECONDS

    @cached_property
    def decides(self) -> np.ndarray:
        """bool [positions]: whether a turn's decision is made there, at its last heard frame."""
        return (self.stream == _CODE["audio_in"]) & (self.rank == FRAMES_PER_TURN - 1)

    def part(self, rows: slice | np.ndarray) -> TokenTable:
        """Some of the rows, each with the rank that it has among all."""
        part = TokenTable(self.stream[rows], self.turn[rows], self.slot[rows], self.token_id[rows], self.names)
        part.__dict__["rank"] = self.rank[rows]  # a cached property: a row's neighbours are not all here any more
        return part

    def until(self, turn: int) -> TokenTable:
        """The rows of the turns before `turn`."""
        end = int(np.searchsorted(self.turn, turn))  # turns ascend along the sequence
        return self.part(slice(end))

    @staticmethod
    def empty() -> TokenTable:
        """A table without rows."""
        none = np.zeros(0, np.int32)
        return TokenTable(none.astype(np.uint8), none, none, none, {})
