"""What a session server offers, in process or over a socket: the same calls, the same replies, the same errors.

    opened = sessions.open(seed=3)
    future = sessions.append(opened.id, opened.writer, Append(seq=0, audio=...))      # at once; the turn runs later
    future.result().turn.decision
    sessions.close(opened.id, opened.writer)

A chunk carries its number. The number after the last one is run; an older one gets the reply it got before, so that
nothing is done twice; a later one is refused with the number expected, until the sender sends what is missing or says
that it is lost (`lost`: so many turns pass in which nothing was heard; `catch_up.Rule` says which of them the model
sees as gaps, and which are skipped).
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tml_lab.stream.recording import Recording
from tml_lab.stream.turn_result import TurnResult


class ServeError(ValueError):
    """A call was refused; the message is one sentence, and the session is as it was.

    `code` names the kind for programs, `status` is HTTP's; `retry_after` (seconds) is given where waiting helps,
    `expected` where another chunk number would be taken.
    """

    code, status = "refused", 400

    def __init__(self, sentence: str, retry_after: float | None = None, expected: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after, self.expected = retry_after, expected


class BadChunkError(ServeError):
    """The chunk itself cannot be taken: length, type, NaN, size of the pictures."""

    code, status = "bad_chunk", 422


class NotAllowedError(ServeError):
    """The token, the origin or the writer's key is not the right one."""

    code, status = "not_allowed", 403


class NoSessionError(ServeError):
    """There is no session of that name, or no longer."""

    code, status = "no_session", 404


class ChunkGapError(ServeError):
    """A chunk with a later number than `expected` came."""

    code, status = "chunk_gap", 409


class BusyError(ServeError):
    """No room now: too many sessions, or too many chunks that wait."""

    code, status = "busy", 429


class TooLongError(ServeError):
    """The session has had all the seconds or bytes that one session may have."""

    code, status = "too_long", 413


@dataclass(frozen=True)
class Append:
    """One turn of input.

    Args:
        seq: the chunk's number, from 0, counted by the writer.
        audio: float32 [3200], mono at 16 kHz; None: nothing was heard (a gap of one turn).
        frames: uint8 [2, H, W, 3] RGB, or None.
        text: words typed during the turn, or None.
        lost: turns that pass before this one, whose chunks will never come; `seq` counts them.
    """

    seq: int
    audio: np.ndarray | None
    frames: np.ndarray | None = None
    text: str | None = None
    lost: int = 0


@dataclass(frozen=True)
class Opened:
    """A session that was opened: its name, the key of its one writer, and the chunk number it waits for."""

    id: str
    writer: str
    expected: int = 0


@dataclass(frozen=True)
class Reply:
    """What a chunk brought.

    Args:
        seq: the chunk's number.
        turn: the turn's result.
        gaps: results of the gap turns that were run before it.
        again: whether the chunk had been run before, and this is the reply it got then.
        waited, model: seconds in the queue, and in the model.
        shed: whether its pictures were left out because it was late.
    """

    seq: int
    turn: TurnResult
    gaps: tuple[TurnResult, ...] = ()
    again: bool = False
    waited: float = 0.0
    model: float = 0.0
    shed: bool = False


@dataclass(frozen=True)
class SessionInfo:
    """How a session stands: the chunk number it waits for, turns run, seconds since the last chunk, bytes kept.

    `may_ask`: its model was taught to ask a background model; who answers is the writer's affair (`with_colleague`).
    `heads`: how many heads each layer of its model has, of which one can be watched.
    """

    id: str
    expected: int
    turns: int
    idle: float
    kept: int
    restored: str = ""  # what was lost when the server came back, one sentence; empty when nothing was
    may_ask: bool = False
    heads: tuple[int, ...] = ()


class Sessions(Protocol):
    """Many sessions on one model. All calls may come from any thread; all raise ServeError."""

    def open(self, seed: int = 0, attention: tuple[int, int] | None = None) -> Opened:
        """A fresh session. BusyError when no more are allowed."""
        ...

    def append(self, id: str, writer: str, chunk: Append) -> Future[Reply]:
        """Queue one chunk; what is wrong with it is raised at once, what goes wrong later lies in the future."""
        ...

    def fork(self, id: str, at: int | float | None = None) -> Opened:
        """A new session with the same past (see `Session.fork`); anybody who knows the name may."""
        ...

    def watch(self, id: str, writer: str, attention: tuple[int, int] | None) -> None:
        """Choose the head whose attention the replies carry."""
        ...

    def info(self, id: str) -> SessionInfo:
        """How it stands."""
        ...

    def recording(self, id: str) -> Recording:
        """Everything so far, between two turns."""
        ...

    def close(self, id: str, writer: str) -> None:
        """End it; its place is free. Closing twice is no error to the writer."""
        ...
