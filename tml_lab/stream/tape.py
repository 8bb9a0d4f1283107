"""The tape a session writes to: one small row a turn in memory, sound and pictures on a reel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tml_lab.config import OUT_DIM, OUT_TOKENS_PER_TURN, TURN_SAMPLES
from tml_lab.model.text import SILENT
from tml_lab.stream.columns import Column, Spill
from tml_lab.stream.observer import Piece
from tml_lab.stream.pooled import Pooled
from tml_lab.stream.recording import SKIPPED, Attention, Inputs, Recording, RecordingError
from tml_lab.stream.reels import MemoryReel, Reel
from tml_lab.stream.tokens import STREAMS, TokenTable

SILENCE = np.zeros(TURN_SAMPLES, np.float32)  # what a gap sounds like
Looked = tuple[np.ndarray, np.ndarray]  # what is kept of a turn's attention: lag [S, LAGS], share [S]
LAGS = 64  # attended turns kept one by one: 12.8 s, beyond every window of the nano


@dataclass
class Turn:
    """One turn as the session hands it over; shapes as in `Session.step` and `TurnResult`."""

    audio_in: np.ndarray
    frames: np.ndarray | None
    typed: str | None
    decision: str
    p_speak: float
    words: tuple[str, ...]
    audio_out: np.ndarray
    rows: list[tuple[int, int]]  # (stream, token id or -1) of each position, in order
    voice: np.ndarray | None  # uint8 [4, 320], the own voice as it was fed back, when speaking
    timings: dict[str, float]
    attention: Pooled | Looked | None = None
    note: str | None = None  # typed by the session's policy
    gap: bool = False  # nothing was heard
    skipped: bool = False  # nothing was computed: no positions


ROW = np.dtype([("stream", "u1"), ("turn", "<i4"), ("token", "<i4")])  # of each position; token -1: none
DONE = np.dtype([("decision", "u1"), ("p_speak", "<f4"), ("first", "<i8")])  # of each turn; first: its first position
SEEN = np.dtype([("lag", "<f2", (len(STREAMS), LAGS)), ("share", "<f4", (len(STREAMS),))])  # by the watched head


def looked_of(attention: Pooled | Looked) -> Looked:
    """What is kept of a turn's attention: float16 lag [S, LAGS], float32 share [S]."""
    return (attention.lag(LAGS), attention.share) if isinstance(attention, Pooled) else attention


class Tape:
    """Collects turns; `recording()` may be asked at any time.

    In memory are the last ones, what was typed and what was said; the rest goes to the reel, and beyond a megabyte a
    column into a temporary folder (see `tml_lab.stream.columns`).
    """

    def __init__(self, reel: Reel | None = None) -> None:
        self.spill = Spill()
        self.reel = MemoryReel() if reel is None else reel
        self.last: Turn | None = None  # as it was appended
        self.typed: list[tuple[int, str]] = []
        self.gaps: list[int] = []
        self.skipped: list[int] = []
        self.unplayed: list[int] = []
        self.notes: list[tuple[int, str]] = []
        self.words: list[tuple[int, str]] = []
        self.names: list[str] = []  # of the decisions so far
        self.done = Column(DONE, (), self.spill)
        self.rows = Column(ROW, (), self.spill)
        self.voice = Column(np.uint8, (OUT_DIM,), self.spill)
        self.timings: dict[str, Column] = {}
        self.head: tuple[int, int] | None = None
        self.seen: Column | None = None  # from the first turn on in which a head was watched

    @property
    def turns(self) -> int:
        """Turns on the tape."""
        return len(self.done)

    def skip(self, audio_out: np.ndarray) -> None:
        """Add a turn that was not computed; `audio_out`: the last word's end."""
        self.append(Turn(SILENCE, None, None, SILENT, 0.0, (), audio_out, [], None, {}, skipped=True))

    def append(self, turn: Turn) -> None:
        """Add one turn."""
        n, self.last = self.turns, turn
        self.reel.write(turn.audio_in, turn.audio_out, turn.frames)
        if turn.typed:
            self.typed.append((n, turn.typed))
        if turn.gap or turn.skipped:
            self.gaps.append(n)
        if turn.skipped:
            self.skipped.append(n)
        if turn.note:
            self.notes.append((n, turn.note))
        self.words += [(n, word) for word in turn.words]
        if turn.decision not in self.names:
            self.names.append(turn.decision)
        self.done.append((self.names.index(turn.decision), turn.p_speak, len(self.rows)))
        for stream, token_id in turn.rows:
            self.rows.append((stream, n, token_id))
        if turn.voice is not None:
            self.voice.extend(turn.voice)
        for stage in turn.timings.keys() - self.timings.keys():
            self.timings[stage] = Column(np.float32, (), self.spill, zeros=n)
        for stage, column in self.timings.items():
            column.append(turn.timings.get(stage, 0.0))
        self._watch(turn.attention)

    def _watch(self, looked: Pooled | Looked | None) -> None:
        """Keep where the watched head looked; nothing in turns in which none was."""
        if self.seen is None:
            if looked is None:
                return
            self.seen = Column(SEEN, (), self.spill, zeros=self.turns - 1)
        self.seen.append(np.zeros((), SEEN) if looked is None else looked_of(looked))

    def piece(self, names: Sequence[str], start: int, n: int, unfinished: Sequence[tuple[int, int]]) -> Piece:
        """The positions `start .. start + n` of the sequence, the last ones of a turn that is not on the tape yet."""
        first = len(self.rows)
        if start < first:  # the first of its turn
            turn = self.rows.take(np.array([start]))["turn"]
            first = int(self.done.take(turn)["first"][0])
        near = self.table(names, unfinished, first)
        return Piece(
            start, near.part(slice(start - first, start - first + n)),
            lambda: self.table(names, unfinished).part(slice(start + n)),
        )  # fmt: skip

    def copy(self) -> Tape:
        """An independent tape with the same content. Raises RecordingError when its reel cannot be copied."""
        twin = Tape(self.reel.copy())
        twin.typed, twin.words, twin.names = list(self.typed), list(self.words), list(self.names)
        twin.notes, twin.gaps, twin.skipped = list(self.notes), list(self.gaps), list(self.skipped)
        twin.unplayed = list(self.unplayed)
        twin.done, twin.rows, twin.voice = (c.copy(twin.spill) for c in (self.done, self.rows, self.voice))
        twin.timings = {stage: column.copy(twin.spill) for stage, column in self.timings.items()}
        twin.head = self.head
        twin.seen = None if self.seen is None else self.seen.copy(twin.spill)
        return twin

    @staticmethod
    def of(recording: Recording) -> Tape:
        """A tape, in memory, that goes on after a recording."""
        tape = Tape()
        table, inputs = recording.tokens, recording.inputs
        starts = np.searchsorted(table.turn, np.arange(recording.turns + 1))
        voices = iter(recording.voice.reshape(-1, OUT_TOKENS_PER_TURN, OUT_DIM))
        for n in range(recording.turns):
            audio, frames, typed = inputs.turn(n)
            gap, skipped = audio is None, audio is SKIPPED
            audio = audio if isinstance(audio, np.ndarray) else SILENCE
            here = slice(starts[n], starts[n + 1])
            rows = list(zip(table.stream[here].tolist(), table.token_id[here].tolist(), strict=True))
            speaks = STREAMS.index("audio_out") in table.stream[here]
            timings = {stage: float(seconds[n]) for stage, seconds in recording.timings.items()}
            own = recording.audio_out[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES]
            voice = next(voices) if speaks else None
            said = (recording.decisions[n], float(recording.p_speak[n]), recording.words[n])
            looked = recording.attention and (recording.attention.lag[n], recording.attention.share[n])
            tape.append(Turn(audio, frames, typed, *said, own, rows, voice, timings, looked, None, gap, skipped))
        tape.notes, tape.unplayed = list(recording.notes), list(recording.unplayed)
        if (seen := recording.attention) is not None:
            tape.head = (seen.layer, seen.head)
        return tape

    def table(
        self, names: Mapping[int, str] | Sequence[str], unfinished: Sequence[tuple[int, int]] = (), first: int = 0
    ) -> TokenTable:
        """The token table so far, from the position `first` on; `names` maps vocabulary ids to text.

        `unfinished`: `(stream, token id or -1)` of the positions of a turn that is not on the tape yet.
        """
        new = np.array([(stream, self.turns, token) for stream, token in unfinished], ROW)
        rows = np.concatenate([self.rows.part(first), new])
        begins = np.flatnonzero(np.diff(rows["turn"], prepend=-1))  # of each turn; `first` is one's first position
        slot = np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))
        token = rows["token"].astype(np.int32)
        used = {int(i): names[int(i)] for i in np.unique(token) if i >= 0}
        return TokenTable(
            np.ascontiguousarray(rows["stream"]), rows["turn"].astype(np.int32), slot.astype(np.int32), token, used
        )

    def part(self, first: int, end: int) -> Recording:
        """The turns `[first, end)`, the first of them as turn 0; without token table and own voice.

        Only they are copied, and another thread may go on writing. Raises RecordingError for a tape on disk.
        """
        if not isinstance(self.reel, MemoryReel):
            raise RecordingError("a session that writes its recording to disk has no parts: load the recording.")
        heard, own, frames = self.reel.part(first, end)
        done = self.done.part(first, end)
        typed, notes = (_within(texts, first, end) for texts in (self.typed, self.notes))
        return Recording(
            inputs=Inputs(heard, typed, frames, *(_inside(turns, first, end) for turns in (self.gaps, self.skipped))),
            decisions=tuple(self.names[code] for code in done["decision"]),
            p_speak=np.ascontiguousarray(done["p_speak"]),
            words=_by_turn(_within(self.words, first, end), end - first),
            audio_out=own,
            notes=notes,
        )

    def recording(self, names: Mapping[int, str] | Sequence[str], **about_session: Any) -> Recording:
        """Everything so far as a Recording; `about_session`: its fields seed, checkpoint, config, about."""
        heard, own, frames = self.reel.contents()
        done = self.done.array()
        attention = None
        if self.head is not None and self.seen is not None:
            seen = self.seen.array()
            attention = Attention(*self.head, STREAMS, *(np.ascontiguousarray(seen[name]) for name in ("lag", "share")))
        return Recording(
            inputs=Inputs(heard, tuple(self.typed), frames, tuple(self.gaps), tuple(self.skipped)),
            decisions=tuple(self.names[code] for code in done["decision"]),
            p_speak=np.ascontiguousarray(done["p_speak"]),
            words=_by_turn(self.words, self.turns),
            audio_out=own,
            tokens=self.table(names),
            voice=self.voice.array(),
            timings={stage: self.timings[stage].array() for stage in sorted(self.timings)},
            attention=attention,
            unplayed=tuple(self.unplayed),
            notes=tuple(self.notes),
            **about_session,
        )


def _within(texts: Sequence[tuple[int, str]], first: int, end: int) -> tuple[tuple[int, str], ...]:
    """Those of the turns `[first, end)`, counted from `first`."""
    return tuple((turn - first, text) for turn, text in list(texts) if first <= turn < end)


def _inside(turns: Sequence[int], first: int, end: int) -> tuple[int, ...]:
    """Those of the turns `[first, end)`, counted from `first`."""
    return tuple(turn - first for turn in list(turns) if first <= turn < end)


def _by_turn(words: Sequence[tuple[int, str]], turns: int) -> tuple[tuple[str, ...], ...]:
    """The words of each turn."""
    found: list[tuple[str, ...]] = [()] * turns
    for turn, word in words:
        found[turn] += (word,)
    return tuple(found)
