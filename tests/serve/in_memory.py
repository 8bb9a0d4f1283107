"""The smallest thing that keeps the contract: sessions in a dict, turns run one after the other in one thread.

What a test wants to go wrong it puts into `refuse` (raised by the next appends) or `gate` (turns wait for it).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.check_chunk import check_chunk
from tml_lab.serve.contract import (
    Append,
    BadChunkError,
    BusyError,
    ChunkGapError,
    NoSessionError,
    NotAllowedError,
    Opened,
    Reply,
    ServeError,
    SessionInfo,
)
from tml_lab.serve.limits import Limits
from tml_lab.stream.recording import Recording
from tml_lab.stream.session import Session


@dataclass
class Held:
    session: Session
    writer: str
    expected: int = 0
    replies: dict[int, Future[Reply]] = field(default_factory=dict)


class InMemory:
    """See `tml_lab.serve.contract.Sessions`."""

    def __init__(self, model: InteractionModel, tokenizer: TextTokenizer, most: int = 64) -> None:
        self.model, self.tokenizer, self.most = model, tokenizer, most
        self.held: dict[str, Held] = {}
        self.refuse: deque[ServeError] = deque()
        self.gate = threading.Event()
        self.gate.set()
        self.appended: list[int] = []  # numbers of all chunks that were appended, refused ones too
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "in-memory")

    def open(self, seed: int = 0, attention: tuple[int, int] | None = None) -> Opened:
        return self._add(self._checked(lambda: Session(self.model, self.tokenizer, seed, attention)))

    def append(self, id: str, writer: str, chunk: Append) -> Future[Reply]:
        with self._lock:
            held = self._held(id, writer)
            chunk = check_chunk(chunk, Limits())
            self.appended.append(chunk.seq)
            if self.refuse:
                raise self.refuse.popleft()
            if chunk.seq in held.replies:
                return self._again(held.replies[chunk.seq])
            if chunk.seq - chunk.lost > held.expected:
                raise ChunkGapError(f"chunk {held.expected} is missing.", expected=held.expected)
            if chunk.seq - chunk.lost < held.expected:
                raise BadChunkError("lost reaches into the past.")
            held.expected = chunk.seq + 1
            future = held.replies[chunk.seq] = self._thread.submit(self._run, held.session, chunk)
            return future

    def _run(self, session: Session, chunk: Append) -> Reply:
        self.gate.wait(60)
        began = time.perf_counter()
        silence = np.zeros(TURN_SAMPLES, np.float32)
        gaps = tuple(session.step(silence) for _ in range(chunk.lost))
        turn = session.step(silence if chunk.audio is None else chunk.audio, chunk.frames, chunk.text)
        return Reply(chunk.seq, turn, gaps, model=time.perf_counter() - began)

    def _again(self, first: Future[Reply]) -> Future[Reply]:
        again: Future[Reply] = Future()
        first.add_done_callback(lambda done: again.set_result(replace(done.result(), again=True)))
        return again

    def fork(self, id: str, at: int | float | None = None) -> Opened:
        held = self._held(id)
        return self._add(self._checked(lambda: held.session.fork(at)))

    def watch(self, id: str, writer: str, attention: tuple[int, int] | None) -> None:
        held = self._held(id, writer)
        self._checked(lambda: setattr(held.session, "attention", attention))

    def info(self, id: str) -> SessionInfo:
        held = self._held(id)
        return SessionInfo(id, held.expected, held.session.turn, 0.0, 0)

    def recording(self, id: str) -> Recording:
        return self._checked(self._held(id).session.recording)

    def close(self, id: str, writer: str) -> None:
        with self._lock:
            self._held(id, writer)
            del self.held[id]

    def _checked(self, action):
        """In the one thread, between two turns; a session's refusal as the contract's."""
        try:
            return self._thread.submit(action).result()
        except ValueError as error:
            raise ServeError(str(error)) from None

    def _add(self, session: Session) -> Opened:
        with self._lock:
            if len(self.held) >= self.most:
                raise BusyError(f"there are {self.most} sessions already.", retry_after=0.2)
            opened = Opened(secrets.token_urlsafe(12), secrets.token_urlsafe(12), session.turn)
            self.held[opened.id] = Held(session, opened.writer, session.turn)
            return opened

    def _held(self, id: str, writer: str | None = None) -> Held:
        if id not in self.held:
            raise NoSessionError("there is no session of this name, or no longer.")
        held = self.held[id]
        if writer is not None and not secrets.compare_digest(writer.encode(), held.writer.encode()):
            raise NotAllowedError("this is not the key of the session's writer.")
        return held
