"""The session host: one thread runs a session's turns, fed from a bounded queue, and says how it keeps up.

    host = SessionHost(lambda: Session(*load_checkpoint("nano")), on_turn=show)
    host.start()
    host.put(chunk)          from any thread; never waits
    host.stop()              after what is queued
    host.recording()

A chunk that is missing becomes a turn in which nothing was heard, so that the session's clock keeps the time of the
world (`tml_lab.serve.catch_up`). Only the host's thread touches the session (making it, stepping it), so no two threads
ever share one. Knows nothing of browsers or notebooks: whoever has chunks may put them, and `on_turn` carries the
results away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.model.text import SPEAK
from tml_lab.serve.chunk_queue import Chunk, ChunkQueue
from tml_lab.stream.recording import SKIPPED, Skipped, Sound

log = logging.getLogger(__name__)

Phase = Literal["stopped", "loading", "live", "paused", "error"]
KEPT = 1500  # turns over which latency is summed up: five minutes


class SessionLike(Protocol):
    """What the host needs of a session (see `tml_lab.stream.session.Session`)."""

    def step(self, audio: Sound, frames: np.ndarray | None = None, text: str | None = None) -> Any:
        """One turn in, a `TurnResult` out. ValueError: the input is bad and the session as it was."""
        ...

    def recording(self) -> Any:
        """Everything so far."""
        ...


@dataclass(frozen=True)
class Served:
    """One turn as the host ran it.

    Args:
        chunk: what went in; its `audio` is None in a gap.
        result: what `step` gave back; when the chunk is `late`, its sound is not to be played.
        missed: turns without their chunk: this one, if it is a gap, and those that were skipped before it.
        waited: seconds in the queue.
        model: seconds inside `step`.
    """

    chunk: Chunk
    result: Any
    missed: int
    waited: float
    model: float

    @property
    def latency(self) -> float:
        """Seconds from the chunk's arrival to its result."""
        return self.waited + self.model


@dataclass(frozen=True)
class Report:
    """How a host keeps up. Seconds; over the last 1500 turns where not said otherwise.

    Args:
        phase: stopped, loading, live, paused or error.
        notice: the last thing the host had to say, one sentence; empty when there was nothing.
        turns: since the start, all of them.
        queued, deepest: chunks waiting now, and at most since the start.
        lost_video, lost_audio: chunks that lost their pictures, or were dropped whole, since the start.
        refused: chunks that the session could not take, since the start.
        missed: turns whose chunk was lost, refused or never sent, since the start.
        latency_p50, latency_p95, latency_max: from a chunk's arrival to its result; NaN before the first turn.
        late: share of turns with a latency above one turn.
    """

    phase: Phase
    notice: str
    turns: int
    queued: int
    deepest: int
    lost_video: int
    lost_audio: int
    refused: int
    missed: int
    latency_p50: float
    latency_p95: float
    latency_max: float
    late: float


class SessionHost:
    """Runs one session at a time.

    Args:
        make_session: makes a fresh session; called at every start, in the host's thread.
        on_turn: called in the host's thread after each turn; what it raises is logged and noted, no more.
        keep_video, keep_audio: see `ChunkQueue`.
    """

    def __init__(
        self,
        make_session: Callable[[], SessionLike],
        on_turn: Callable[[Served], None] | None = None,
        keep_video: int = 3,
        keep_audio: int = 25,
    ) -> None:
        self._make_session, self._on_turn = make_session, on_turn
        self._limits = (keep_video, keep_audio)
        self._changed = threading.Condition()
        self._phase: Phase = "stopped"
        self._notice = ""
        self._queue = ChunkQueue(*self._limits)
        self._thread: threading.Thread | None = None
        self._session: SessionLike | None = None
        self._reset()

    def _reset(self) -> None:
        self._latency: deque[float] = deque(maxlen=KEPT)
        self._turns = self._deepest = self._refused = self._missed = 0
        self._skipped = 0  # turns since the last one that was run
        self._drop = False

    @property
    def phase(self) -> Phase:
        """stopped, loading, live, paused or error."""
        return self._phase

    def _enter(self, phase: Phase, notice: str = "") -> None:
        with self._changed:
            self._phase, self._notice = phase, notice or self._notice
            self._changed.notify_all()

    def start(self) -> None:
        """Make a fresh session and begin to take chunks; returns at once. Raises RuntimeError while one runs."""
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("a session is running: stop it before the next start.")
        self._reset()
        self._notice, self._session = "", None
        self._queue = ChunkQueue(*self._limits)
        self._enter("loading")
        self._thread = threading.Thread(target=self._run, name="tml-host", daemon=True)
        self._thread.start()

    def put(self, chunk: Chunk) -> bool:
        """Give the session one turn of input, at once; whether it was taken.

        When the model is behind, older chunks give way: pictures first, then sound. While the host is
        stopped, paused or in error nothing is taken.
        """
        if self._phase not in ("loading", "live") or self._queue.closed:
            return False
        self._queue.put(chunk)
        self._deepest = max(self._deepest, len(self._queue))
        return True

    def pause(self) -> None:
        """Take no more chunks; what is queued is still run. The session's clock stands still."""
        self._switch("live", "paused")
        self._queue.pause()

    def resume(self) -> None:
        """Take chunks again, after `pause`."""
        self._queue.resume()
        self._switch("paused", "live")

    def _switch(self, here: Phase, there: Phase) -> None:
        with self._changed:
            if self._phase != here:
                raise RuntimeError(f"the host is {self._phase}, not {here}.")
            self._phase = there
            self._changed.notify_all()

    def stop(self, seconds: float | None = None, drop: bool = False) -> None:
        """End the session after what is queued; its recording stays. Stopping twice is no error.

        Args:
            seconds: how long to wait for the thread at most. Raises TimeoutError when it takes longer.
            drop: forget what is queued and end after the turn in work.
        """
        if self._thread is None:
            return
        self._drop = drop
        self._queue.close()
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"the turn in work is not done after {seconds} s.")

    def wait_for(self, *phases: Phase, seconds: float | None = None) -> Phase:
        """Wait until the host is in one of these phases. Raises TimeoutError after `seconds`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._phase in phases, seconds):
                raise TimeoutError(f"the host is still {self._phase} after {seconds} s.")
            return self._phase

    def recording(self) -> Any:
        """The `Recording` of the last session. Raises RuntimeError while it runs or when there was none."""
        if self._session is None or (self._thread is not None and self._thread.is_alive()):
            raise RuntimeError("there is no finished session: start one, and stop it.")
        return self._session.recording()

    def report(self) -> Report:
        """How the host keeps up; may be asked at any time, from any thread."""
        latency = np.array(self._latency.copy()) if self._latency else np.array([np.nan])
        p50, p95 = np.percentile(latency, [50, 95])
        return Report(
            phase=self._phase, notice=self._notice, turns=self._turns, queued=len(self._queue),
            deepest=self._deepest, lost_video=self._queue.lost_video, lost_audio=self._queue.lost_audio,
            refused=self._refused, missed=self._missed, latency_p50=float(p50), latency_p95=float(p95),
            latency_max=float(latency.max()), late=float((latency > TURN_SECONDS).mean()),
        )  # fmt: skip

    def _run(self) -> None:
        try:
            session = self._session = self._make_session()
        except Exception as error:
            log.exception("the session could not be made")
            self._enter("error", f"The model could not be started: {error}")
            return
        with self._changed:
            if self._phase == "loading":
                self._phase = "live"
                self._changed.notify_all()
        while (chunk := self._queue.get()) is not None:
            assert isinstance(chunk, Chunk)  # the host puts no commands
            if self._drop:
                break
            if not self._turn(session, chunk):
                return
        self._enter("stopped")

    def _turn(self, session: SessionLike, chunk: Chunk) -> bool:
        """Run one chunk; whether the session can go on."""
        waited = time.monotonic() - chunk.arrived
        began = time.perf_counter()
        try:
            if isinstance(chunk.audio, Skipped):
                for _ in range(chunk.turns):
                    session.step(SKIPPED)
                self._skipped += chunk.turns
                return True
            result = session.step(chunk.audio, chunk.frames, chunk.text)
        except ValueError as error:  # bad input leaves a session as it was
            self._refused += 1
            self._notice = f"Chunk {chunk.seq} was left out: {error}"
            return chunk.audio is None or self._turn(session, Chunk(chunk.seq, None))  # it took its time all the same
        except Exception as error:
            log.exception("turn failed")
            self._enter("error", f"The model stopped with an error in chunk {chunk.seq}: {error}")
            return False
        model = time.perf_counter() - began
        if chunk.late and hasattr(session, "not_played") and result.decision == SPEAK:
            session.not_played(result.turn)  # pyright: ignore[reportAttributeAccessIssue]
        missed, self._skipped = self._skipped + (chunk.audio is None), 0
        served = Served(chunk, result, missed, waited, model)
        self._latency.append(served.latency)
        self._missed += missed
        self._turns += 1
        if self._on_turn is not None:
            try:
                self._on_turn(served)
            except Exception as error:  # a listener's fault must not end the session
                log.exception("on_turn failed")
                self._notice = f"What listens to the turns failed: {error}"
        return True
