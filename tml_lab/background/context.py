"""The context package: what a `<delegate>` hands to a background model, as one JSON document.

The interaction model is small and must answer within a turn; what takes longer goes to a background model
that gets this package: everything said, typed and decided before a given turn, with times on both clocks,
the calls that are still open, and what is drawn beside the conversation.

Sound is described by when there was any and how loud; the words heard are those that the model's listening
head read (`tml_lab.stream.words_heard`, or `tml_lab.interp.hearing` afterwards), when they are given. Of pictures
it is told when there were any and how large they were: what they show, nobody here puts into words. The first nano
was not trained to delegate, so it never asks by itself; a program may build a package for any turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from tml_lab.background import panel as panels
from tml_lab.background.arguments import Plain
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.stream.clock import heard_span, heard_start, played_start
from tml_lab.stream.recording import Recording

QUIET_DB = -50.0  # dBFS; turns below are not listed as sound
FLOOR_DB = -120.0  # the level given to digital silence
Span = tuple[float, float]  # seconds, half-open
StreamName = Literal["text_in", "video_in", "audio_in", "text_out", "audio_out"]


class ContextError(ValueError):
    """A package could not be built or read; the message is one sentence that says why."""


class Entry(Plain):
    """One stretch of one stream.

    Args:
        stream: as in `tml_lab.stream.tokens.STREAMS`.
        turn, end_turn: the turns `[turn, end_turn)`.
        heard: seconds on the heard clock in which these turns took in their input.
        played: seconds on the played clock in which the output of these turns sounds, one turn later.
        text: what was typed, said or heard; of pictures, how large they were; empty for sound.
        level_db: loudness of a sound in dBFS (RMS), None for words and pictures.
    """

    stream: StreamName
    turn: int = Field(ge=0)
    end_turn: int = Field(ge=1)
    heard: Span
    played: Span
    text: str = ""
    level_db: float | None = None


class OpenCall(Plain):
    """A request to a tool or a background model that has not been answered yet.

    Args:
        id: unique within the session.
        tool: who was asked.
        request: what was asked, as text.
        turn: in which it was asked.
        partial: what has come back so far.
    """

    id: int
    tool: str
    request: str
    turn: int = Field(ge=0)
    partial: tuple[str, ...] = ()


class ContextPackage(Plain):
    """Everything a background model is told about a conversation.

    Args:
        turn: the package holds turns `[0, turn)`.
        heard_until, played_until: where those turns end on each clock, in seconds.
        transcript: of all streams, in the order of their turns.
        decisions: one decision token for each turn.
        p_speak: probability of `<speak>` for each turn.
        open_calls: asked and not yet answered.
        panel: the charts, tables, timers and checklists beside the conversation, after turn `turn - 1`.
        screen: what there is to see after that turn, a sentence each: the camera, if it was ever on, and each thing on
            the panel.
        checkpoint: {"name", "sha256"} of the interaction model.
    """

    version: Literal[1] = 1
    turn: int = Field(ge=0)
    heard_until: float
    played_until: float
    transcript: tuple[Entry, ...] = ()
    decisions: tuple[str, ...] = ()
    p_speak: tuple[float, ...] = ()
    open_calls: tuple[OpenCall, ...] = ()
    panel: panels.Items = ()
    screen: tuple[str, ...] = ()
    checkpoint: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _belongs_together(self) -> ContextPackage:
        if not len(self.decisions) == len(self.p_speak) == self.turn:
            raise ValueError(f"{len(self.decisions)} decisions do not fit {self.turn} turns")
        if any(entry.end_turn > self.turn for entry in self.transcript):
            raise ValueError(f"the transcript goes beyond turn {self.turn}")
        return self

    def to_json(self) -> str:
        """The package as JSON text, which `from_json` reads back to an equal package."""
        return self.model_dump_json()

    @staticmethod
    def from_json(text: str) -> ContextPackage:
        """Read `to_json`. Raises ContextError saying which part is wrong."""
        try:
            return ContextPackage.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            what = " ".join(first["msg"].split())
            raise ContextError(f"this is not a context package: {where}: {what}.") from error


def build_context(
    recording: Recording,
    turn: int | None = None,
    open_calls: Iterable[OpenCall] = (),
    heard: Sequence[Sequence[str]] = (),
) -> ContextPackage:
    """The package for a background model that is called at the start of `turn`.

    Args:
        turn: nothing of this turn or later is in the package; None: all turns so far.
        open_calls: what the agent has not answered yet (`BackgroundAgent.open_calls()`).
        heard: per turn, the words heard (`words_heard`); those of `turn` and later are left out.

    Raises ContextError when the recording has not come that far, or a call lies in the future.
    """
    turn = recording.turns if turn is None else turn
    if not 0 <= turn <= recording.turns:
        raise ContextError(f"turn {turn} is outside the recording, which has had {recording.turns} turns.")
    calls = tuple(open_calls)
    if late := [call.id for call in calls if call.turn >= turn]:
        raise ContextError(f"call {late[0]} was made in turn {turn} or later, which this package leaves out.")
    past = recording.until(turn)  # so that nothing later can leak in
    seen, items = _seen(past), tuple(panels.panel_at(panels.from_plain(recording.panel), turn - 1))
    entries = [*_typed(past), *seen, *_sounds(past), *_said(past)]
    entries += [_entry("audio_in", n, n + 1, word) for n, words in enumerate(heard[:turn]) for word in words]
    return ContextPackage(
        turn=turn,
        heard_until=heard_start(turn),
        played_until=played_start(turn),
        transcript=tuple(sorted(entries, key=lambda entry: entry.turn)),
        decisions=past.decisions,
        p_speak=tuple(float(p) for p in past.p_speak),
        open_calls=calls,
        panel=items,
        screen=(*_camera(seen, turn), *(panels.describe(item, turn - 1) for item in items)),
        checkpoint={key: str(value) for key, value in recording.checkpoint.items()},
    )


def _entry(stream: StreamName, turn: int, end: int, text: str = "", level: float | None = None) -> Entry:
    heard = (heard_start(turn), heard_start(end))
    played = (played_start(turn), played_start(end))
    return Entry(
        stream=stream, turn=turn, end_turn=end, heard=heard, played=played, text=text, level_db=level
    )


def _typed(past: Recording) -> list[Entry]:
    return [_entry("text_in", n, n + 1, text) for n, text in past.inputs.typed]


def _seen(past: Recording) -> list[Entry]:
    """A stretch for each run of pictures of one size."""
    frames = past.inputs.frames
    sizes = [None if frames is None else _size(frames[n]) for n in range(past.turns)]
    entries, start = [], 0
    for size, run in groupby(sizes):
        end = start + len(list(run))
        if size is not None:
            entries.append(_entry("video_in", start, end, size))
        start = end
    return entries


def _size(pictures: np.ndarray | None) -> str | None:
    """uint8 [2, H, W, 3] in words."""
    return None if pictures is None else f"pictures of {pictures.shape[2]} x {pictures.shape[1]}"


def _camera(seen: Sequence[Entry], turn: int) -> list[str]:
    """What is to be said of the camera before `turn`; nothing, if it was never on."""
    if not seen:
        return []
    last, seconds = seen[-1], sum(entry.end_turn - entry.turn for entry in seen) * TURN_SECONDS
    now = f"on: {last.text}" if last.end_turn == turn else "off"
    return [f"The camera is {now}. It has been on for {seconds:.1f} s so far."]


def _said(past: Recording) -> list[Entry]:
    """Words of one turn share its place; where each sounds within it is an estimate (`Recording.said`)."""
    turns = [n for n, words in enumerate(past.words) for _ in words]
    return [
        Entry(stream="text_out", turn=n, end_turn=n + 1, heard=heard_span(n), played=(start, end), text=word)
        for n, (word, start, end) in zip(turns, past.said(), strict=True)
    ]


def _sounds(past: Recording) -> list[Entry]:
    entries = []
    streams: tuple[tuple[StreamName, np.ndarray], ...] = (
        ("audio_in", past.inputs.audio),
        ("audio_out", past.audio_out),
    )
    for stream, audio in streams:
        power = np.array(
            [np.mean(np.square(one, dtype=np.float64)) for one in audio.reshape(-1, TURN_SAMPLES)]
        )
        for start, end in _runs(_decibels(power) >= QUIET_DB):
            level = round(float(_decibels(power[start:end].mean())), 1)
            entries.append(_entry(stream, start, end, level=level))
    return entries


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """`[start, end)` of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
