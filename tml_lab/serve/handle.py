"""One session of a server, used like a session of one's own; whether the server is in this process or far away.

    with Handle.open(engine, seed=3) as session:
        session.step(audio).decision
        twin = session.fork(at=5)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TypeVar

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.text import SILENT
from tml_lab.serve.contract import Append, BusyError, ChunkGapError, Opened, Reply, Sessions
from tml_lab.stream.recording import Recording, Skipped, Sound
from tml_lab.stream.turn_result import TurnResult

PATIENCE = 30.0  # seconds for one call, all tries together
ANSWER = 10.0  # seconds after which a reply counts as lost
AGAIN = 0.2  # seconds before the next try, when the server says nothing of it
LOST = (ConnectionError, TimeoutError, CancelledError)  # the call may have been heard, or not
T = TypeVar("T")


class Handle:
    """A session as its one writer sees it; for one thread at a time.

    Args:
        sessions: an engine, or a client of a server.
        opened: what `open` or `fork` gave.
        attention: the head that is watched already.
        patience: seconds that one call may take, tries again included.
        answer: seconds after which a reply counts as lost, and the chunk is sent again, with the same number.
        sleep: waits between tries.
    """

    def __init__(
        self, sessions: Sessions, opened: Opened, attention: tuple[int, int] | None = None, *,
        patience: float = PATIENCE, answer: float = ANSWER, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.sessions, self.id, self._writer = sessions, opened.id, opened.writer
        self._turn, self._attention = opened.expected, attention
        self._lost = 0  # turns before the next one whose chunks will never come
        self._patience, self._answer, self._sleep = patience, answer, sleep
        self.last: Reply | None = None  # with the results of gap turns, and the seconds that it took

    @staticmethod
    def open(sessions: Sessions, seed: int = 0, attention: tuple[int, int] | None = None, **how: float) -> Handle:
        """A fresh session. Raises ServeError."""
        return Handle(sessions, sessions.open(seed, attention), attention, **how)  # type: ignore[arg-type]

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def turn(self) -> int:
        """The turn that the next `step` computes."""
        return self._turn

    @property
    def attention(self) -> tuple[int, int] | None:
        """The watched `(layer, head)`, or None; another one can be set between turns."""
        return self._attention

    @attention.setter
    def attention(self, watched: tuple[int, int] | None) -> None:
        if watched == self._attention:  # the live widget sets it at every turn
            return
        self._patiently(lambda: self.sessions.watch(self.id, self._writer, watched))
        self._attention = watched

    @property
    def may_ask(self) -> bool:
        """Whether the model was taught to ask a background model (see `tml_lab.background.colleague`)."""
        return self._patiently(lambda: self.sessions.info(self.id)).may_ask

    @property
    def heads(self) -> tuple[int, ...]:
        """How many heads each layer of the model has: `attention` can be any `(layer, head)` of them."""
        return self._patiently(lambda: self.sessions.info(self.id)).heads

    def step(self, audio: Sound, frames: np.ndarray | None = None, text: str | None = None) -> TurnResult:
        """One turn, as `Session.step`; None: nothing was heard. A lost reply is asked for again; nothing runs twice.

        `SKIPPED`: a turn whose chunk will never come; the next one tells the server of it.
        When the server came back without the last turns, they become gaps. Raises ServeError; ConnectionError or
        TimeoutError when the server cannot be reached for as long as the patience lasts.
        """
        if isinstance(audio, Skipped):
            self._turn, self._lost = self._turn + 1, self._lost + 1
            return TurnResult(self._turn - 1, SILENT, 0.0, "", (), np.zeros(TURN_SAMPLES, np.float32), {})
        lost = self._lost

        def send() -> Reply:
            nonlocal lost
            try:
                chunk = Append(self._turn, audio, frames, text, lost)
                return self.sessions.append(self.id, self._writer, chunk).result(self._answer)
            except ChunkGapError as error:
                if error.expected is None or not 0 <= error.expected < self._turn - lost:
                    raise
                lost = self._turn - error.expected
                raise ConnectionError("the server lacks the turns before this one") from error

        self.last = self._patiently(send)
        self._turn, self._lost = self._turn + 1, 0
        return self.last.turn

    def fork(self, at: int | float | None = None) -> Handle:
        """A session of its own with the same past; see `Session.fork`."""
        # not tried again when the answer is lost: it would leave a session behind that nobody knows
        opened = self._patiently(lambda: self.sessions.fork(self.id, at), lost=())
        return Handle(
            self.sessions, opened, self._attention, patience=self._patience, answer=self._answer, sleep=self._sleep
        )

    def recording(self) -> Recording:
        """Everything so far."""
        return self._patiently(lambda: self.sessions.recording(self.id))

    def close(self) -> None:
        """End the session. Closing twice is no error."""
        self._patiently(lambda: self.sessions.close(self.id, self._writer))

    def _patiently(self, call: Callable[[], T], lost: tuple[type[BaseException], ...] = LOST) -> T:
        """Try again what was lost, and what the server is too busy for."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return call()
            except BusyError as error:
                wait, why = error.retry_after if error.retry_after is not None else AGAIN, error
            except lost as error:
                wait, why = AGAIN, error
            if time.monotonic() + wait > until:
                raise why
            self._sleep(wait)
