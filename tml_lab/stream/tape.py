"""The tape a session writes to: one small row a turn in memory, sound and pictures on a reel."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tml_lab.config import OUT_DIM, OUT_TOKENS_PER_TURN, TURN_SAMPLES
from tml_lab.model.text import SILENT
from tml_lab.stream.observer import Piece
from tml_lab.stream.recording import SKIPPED, Attention, Inputs, Recording, RecordingError
from tml_lab.stream.reels import MemoryReel, Reel
from tml_lab.stream.tokens import STREAMS, TokenTable

SILENCE = np.zeros(TURN_SAMPLES, np.float32)  # what a gap sounds like
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
    attention: Mapping[str, np.ndarray] | None = None  # {stream: float32 [turns so far]}
    gap: bool = False  # nothing was heard
    skipped: bool = False  # nothing was computed: no positions


def _summary(attention: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One turn's attention {stream: [turns so far]} as lag float16 [S, LAGS] and share float32 [S]."""
    lag, share = np.zeros((len(STREAMS), LAGS), np.float16), np.zeros(len(STREAMS), np.float32)
    for stream, weight in attention.items():
        recent = weight[::-1][:LAGS]  # newest first: lag 0 is this turn
        lag[STREAMS.index(stream), : len(recent)] = recent
        share[STREAMS.index(stream)] = weight.sum()
    return lag, share


class Tape:
    """Collects turns; `recording()` may be asked at any time."""

    def __init__(self, reel: Reel | None = None) -> None:
        self.reel = MemoryReel() if reel is None else reel
        self.typed: list[tuple[int, str]] = []
        self.gaps: list[int] = []
        self.skipped: list[int] = []
        self.unplayed: list[int] = []
        self.decisions: list[str] = []
        self.p_speak = array("f")
        self.words: list[tuple[str, ...]] = []
        self.rows = [array("B"), array("i"), array("i"), array("i")]  # stream, turn, slot, token id
        self.voice: list[np.ndarray] = []
        self.timings: list[dict[str, float]] = []
        self.head: tuple[int, int] | None = None
        self.attention: list[tuple[np.ndarray, np.ndarray] | None] = []  # (lag [S, LAGS], share [S])

    @property
    def turns(self) -> int:
        """Turns on the tape."""
        return len(self.decisions)

    def skip(self, audio_out: np.ndarray) -> None:
        """Add a turn that was not computed; `audio_out`: the last word's end."""
        self.append(Turn(SILENCE, None, None, SILENT, 0.0, (), audio_out, [], None, {}, skipped=True))

    def append(self, turn: Turn) -> None:
        """Add one turn."""
        n = self.turns
        self.reel.write(turn.audio_in, turn.audio_out, turn.frames)
        if turn.typed:
            self.typed.append((n, turn.typed))
        if turn.gap or turn.skipped:
            self.gaps.append(n)
        if turn.skipped:
            self.skipped.append(n)
        self.decisions.append(turn.decision)
        self.p_speak.append(turn.p_speak)
        self.words.append(tuple(turn.words))
        for slot, (stream, token_id) in enumerate(turn.rows):
            for column, value in zip(self.rows, (stream, n, slot, token_id), strict=True):
                column.append(value)
        if turn.voice is not None:
            self.voice.append(turn.voice)
        self.timings.append(turn.timings)
        self.attention.append(None if turn.attention is None else _summary(turn.attention))

    def piece(self, names: Sequence[str], start: int, n: int, unfinished: Sequence[tuple[int, int]]) -> Piece:
        """The positions `start .. start + n` of the sequence, the last ones of a turn that is not on the tape yet."""
        turns = self.rows[1]
        first = bisect_left(turns, turns[start]) if start < len(turns) else len(turns)  # where its turn begins
        near = self.table(names, unfinished, first)
        return Piece(
            start, near.part(slice(start - first, start - first + n)),
            lambda: self.table(names, unfinished).part(slice(start + n)),
        )  # fmt: skip

    def copy(self) -> Tape:
        """An independent tape with the same content, in memory.

        Raises RecordingError on a tape that writes to disk: two sessions cannot write one file.
        """
        if not isinstance(self.reel, MemoryReel):
            raise RecordingError(
                "a session that writes its recording to disk cannot be forked; load the recording."
            )
        twin = Tape(self.reel.copy())
        twin.typed, twin.decisions, twin.words = list(self.typed), list(self.decisions), list(self.words)
        twin.gaps, twin.skipped, twin.unplayed = list(self.gaps), list(self.skipped), list(self.unplayed)
        twin.p_speak, twin.rows = self.p_speak[:], [column[:] for column in self.rows]
        twin.voice, twin.timings = list(self.voice), list(self.timings)
        twin.head, twin.attention = self.head, list(self.attention)
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
            tape.append(Turn(audio, frames, typed, *said, own, rows, voice, timings, None, gap, skipped))
        tape.unplayed = list(recording.unplayed)
        if (seen := recording.attention) is not None:
            tape.head = (seen.layer, seen.head)
            tape.attention = list(zip(seen.lag, seen.share, strict=True))
        return tape

    def table(
        self, names: Mapping[int, str] | Sequence[str], unfinished: Sequence[tuple[int, int]] = (), first: int = 0
    ) -> TokenTable:
        """The token table so far, from the position `first` on; `names` maps vocabulary ids to text.

        `unfinished`: `(stream, token id or -1)` of the positions of a turn that is not on the tape yet.
        """
        new = np.array([(stream, self.turns, slot, token) for slot, (stream, token) in enumerate(unfinished)], np.int32)
        columns = zip(self.rows, new.reshape(-1, 4).T, strict=True)
        stream, turn, slot, token = (np.concatenate([np.array(old[first:]), more]) for old, more in columns)
        used = {int(i): names[int(i)] for i in np.unique(token) if i >= 0}
        return TokenTable(
            stream.astype(np.uint8),
            turn.astype(np.int32),
            slot.astype(np.int32),
            token.astype(np.int32),
            used,
        )

    def recording(self, names: Mapping[int, str] | Sequence[str], **about_session: Any) -> Recording:
        """Everything so far as a Recording; `about_session`: its fields seed, checkpoint, config, about."""
        heard, own, frames = self.reel.contents()
        stages = sorted({stage for turn in self.timings for stage in turn})
        attention = None
        if self.head is not None and self.attention:
            none = _summary({})  # turns in which no head was watched
            lag, share = zip(*(seen or none for seen in self.attention), strict=True)
            attention = Attention(*self.head, STREAMS, np.stack(lag), np.stack(share))
        return Recording(
            inputs=Inputs(heard, tuple(self.typed), frames, tuple(self.gaps), tuple(self.skipped)),
            decisions=tuple(self.decisions),
            p_speak=np.array(self.p_speak, np.float32),
            words=tuple(self.words),
            audio_out=own,
            tokens=self.table(names),
            voice=np.concatenate([np.zeros((0, OUT_DIM), np.uint8), *self.voice]),
            timings={s: np.array([turn.get(s, 0.0) for turn in self.timings], np.float32) for s in stages},
            attention=attention,
            unplayed=tuple(self.unplayed),
            **about_session,
        )
