"""The one thread that runs the model while a live session is on.

Message handlers only copy bytes into a queue; everything that touches the model (loading, stepping, saving)
happens here, in order, so that no two threads ever share a session and the kernel stays free for cells.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from tml_lab.background.colleague import Assisted
from tml_lab.interp.live import Live
from tml_lab.model.text import SPEAK
from tml_lab.serve.chunk_queue import Chunk, ChunkQueue
from tml_lab.stream.recording import SKIPPED, Skipped, Sound
from tml_widgets.beside import Beside
from tml_widgets.protocol import pack_attention, turn_message
from tml_widgets.words_heard import WordsHeard

log = logging.getLogger("tml_widgets.live")

LIVE_SWITCH_INTERVAL = 0.0005  # seconds; with Python's 5 ms a busy cell delays a message by up to 98 ms
SILENCE = 1e-4  # largest sample of a turn that is not worth playing
PATIENCE = 1800.0  # seconds without a chunk after which a live session ends by itself: a lid may be closed meanwhile


class FastSwitching:
    """Shortens Python's thread switch interval while at least one session is live, and puts it back afterwards."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, 0.0

    def enter(self) -> None:
        """One session more is live."""
        with self._lock:
            if self._users == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(LIVE_SWITCH_INTERVAL)
            self._users += 1

    def leave(self) -> None:
        """One session less is live."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.setswitchinterval(self._before)


_fast_switching = FastSwitching()


class TurnLike(Protocol):
    """What the widget reads from a turn's result (see `tml_lab.stream.session.TurnResult`)."""

    turn: int
    decision: str
    p_speak: float
    audio: np.ndarray  # float32 [3200]


class SessionLike(Protocol):
    """What the widget needs of a session (see `tml_lab.stream.session.Session`)."""

    def step(self, audio: Sound, frames: np.ndarray | None = None, text: str | None = None) -> Any:
        """One turn of 200 ms in, one `TurnLike` out."""
        ...

    def recording(self) -> Any:
        """Everything so far, with a `save(folder)`."""
        ...


Emit = Callable[..., None]  # emit(content, buffers=None): one message to the browser


@dataclass
class Row:
    """One turn as the widget keeps it: what `LiveSession.turns` lists.

    Times are seconds: `model` inside `Session.step`, `waited` in the queue before it. `heard` are the words that the
    model's listening head read; `typed` those of the person and of the background model.
    """

    turn: int
    seq: int
    decision: str
    p_speak: float
    words: tuple[str, ...]
    heard: tuple[str, ...]
    typed: str | None
    model: float
    waited: float
    missed: int = 0  # turns without their chunk: this one, if it is a gap, and those that were skipped before it
    late: bool = False  # its moment had passed when it was run: what was said in it was not played
    read: dict[str, float] = field(default_factory=dict)  # what the attached readers said of the decision


@dataclass
class LiveWorker:
    """Takes chunks from `queue`, steps the session, emits a `turn` message for each.

    Args:
        make_session: makes a fresh session; called at every start, in the worker's thread.
        queue: where the sources put chunks.
        emit: sends one message to the browser; may be called from any thread.
    """

    make_session: Callable[[], SessionLike]
    queue: ChunkQueue
    emit: Emit
    session: SessionLike | None = None
    rows: list[Row] = field(default_factory=list)
    phase: str = "stopped"
    notice: str = ""
    attention: tuple[int, int] | None = None
    beside: Beside | None = None  # when the session has a colleague
    inside: Callable[[Any], Live] | None = None  # makes the readers, and the edits, of a session
    _thread: threading.Thread | None = None
    _ear: WordsHeard | None = None
    _fast: bool = False
    _skipped: int = 0  # turns since the last row

    def status(self, phase: str, notice: str = "", **more: Any) -> None:
        """Set the phase and tell the browser."""
        self.phase, self.notice = phase, notice
        self.emit({"kind": "status", "phase": phase, "notice": notice, **more})

    def command(self, action: Callable[[], None]) -> None:
        """Have the worker's thread run `action` when everything asked before is done."""
        self.queue.command(action)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="tml-live-model", daemon=True)
            self._thread.start()

    def begin(self, phase: str, ready: Callable[[], None] | None = None) -> None:
        """Ask for a fresh session; `ready` runs in the worker's thread once it exists."""
        self.queue.clear()
        self.command(lambda: self._begin(phase, ready))

    def end(self, notice: str = "") -> None:
        """End the session after the chunks already queued; its recording can still be saved."""
        self.command(lambda: self._end(notice))

    def save(self, folder: Path) -> None:
        """Save the session's recording to `folder`, between two turns."""
        self.command(lambda: self._save(folder))

    def drain(self, seconds: float) -> None:
        """Wait until everything put into the queue so far is done. Raises TimeoutError after `seconds`."""
        done = threading.Event()
        self.command(done.set)
        if not done.wait(seconds):
            raise TimeoutError(f"The model is not done after {seconds:.0f} s.")

    def close(self) -> None:
        """Let the thread finish what is queued, and end it."""
        self.queue.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        self._dismiss()

    def attach(self, inside: Callable[[Any], Live] | None) -> None:
        """From the next turn on, and in the sessions to come: these readers and edits, or none."""
        self.command(lambda: self._attach(inside))

    def _attach(self, inside: Callable[[Any], Live] | None) -> None:
        self.inside = inside
        if hasattr(self._talk, "observer"):
            self._talk.observer = None if inside is None else inside(self._talk)

    def tell_all(self) -> None:
        """Tell a page that knows nothing what stands beside the conversation."""
        if self.beside is not None:
            self.emit(self.beside.whole(len(self.rows) - 1 if self.rows else 0))

    def _dismiss(self) -> None:
        """The colleague's open tasks are called off, and its thread ends."""
        if self.beside is not None:
            self.beside.assisted.close()

    def _begin(self, phase: str, ready: Callable[[], None] | None) -> None:
        self.status("loading", "Waking the model ...")
        self._dismiss()
        try:
            self.session = self.make_session()
        except Exception as error:
            log.exception("the session could not be made")
            self.status("error", f"The model could not be started: {error}")
            return
        self.rows, self._skipped = [], 0
        self._attach(self.inside)
        self.beside = Beside(self.session) if isinstance(self.session, Assisted) else None
        has_ear = hasattr(getattr(self._talk, "model", None), "listen")
        self._ear = WordsHeard(self._talk) if has_ear else None
        if isinstance(self.session, Assisted):
            self.session.heard = lambda: [row.heard for row in self.rows]
        self.tell_all()
        if not self._fast:
            _fast_switching.enter()
            self._fast = True
        self.status(phase)
        if ready is not None:
            ready()

    @property
    def _talk(self) -> Any:
        """The session itself, which a colleague may be wrapped around."""
        return self.session.session if isinstance(self.session, Assisted) else self.session

    def _end(self, notice: str) -> None:
        self._dismiss()
        self.tell_all()
        if self._fast:
            _fast_switching.leave()
            self._fast = False
        if self.phase != "error":
            self.status("stopped", notice)

    def _save(self, folder: Path) -> None:
        if self.session is None or not self.rows:
            self.status(self.phase, "There is nothing to save yet: start a session first.")
            return
        try:
            self.session.recording().save(folder)
        except Exception as error:
            log.exception("the recording could not be saved")
            self.status(self.phase, f"The recording could not be saved: {error}")
            return
        self.emit({"kind": "saved", "path": str(folder)})

    def _run(self) -> None:
        # Of this thread only. A turn is too small to share out: with two threads and a busy browser on two cores,
        # each waits for the other, and a turn of 14 ms took 4 s.
        torch.set_num_threads(1)
        while True:
            live = self.phase in ("live", "playing")
            item = self.queue.get(patience=PATIENCE if live else None)
            if isinstance(item, Chunk):
                if self.phase in ("live", "playing"):
                    self._turn(item)
            elif item is not None:
                item()
            elif self.queue.closed:
                return
            elif live:
                self._end(f"No sound has come for {PATIENCE / 60:.0f} minutes, so the session has ended.")

    def _turn(self, chunk: Chunk) -> None:
        try:
            self._step(chunk)
        except Exception as error:
            log.exception("turn failed")
            self._end("")
            self.status("error", f"The model stopped with an error: {error}")

    def _step(self, chunk: Chunk) -> None:
        assert self.session is not None
        if isinstance(chunk.audio, Skipped):
            for _ in range(chunk.turns):
                self.session.step(SKIPPED)
            self._skipped += chunk.turns
            return
        if hasattr(self._talk, "attention"):
            self._talk.attention = self.attention
        waited = time.monotonic() - chunk.arrived
        start = time.perf_counter()
        with self._ear.turn() if self._ear else nullcontext():
            result = self.session.step(chunk.audio, chunk.frames, chunk.text)
        row = Row(
            turn=result.turn,
            seq=chunk.seq,
            decision=result.decision,
            p_speak=float(result.p_speak),
            words=tuple(result.words),
            heard=self._ear.words if self._ear else (),
            typed=(self.session.read or None) if isinstance(self.session, Assisted) else chunk.text,
            model=time.perf_counter() - start,
            waited=waited,
            missed=self._skipped + (chunk.audio is None),
            late=chunk.late,
            read=self._read(),
        )
        self._skipped = 0
        self.rows.append(row)
        if row.late and row.decision == SPEAK and hasattr(self._talk, "not_played"):
            self._talk.not_played(row.turn)
        self._emit_turn(row, chunk, result)
        if self.beside is not None and (news := self.beside.news(row.turn)) is not None:
            self.emit(news)

    def _read(self) -> dict[str, float]:
        """What the readers said of the turn just made."""
        watch = getattr(self._talk, "observer", None)
        return dict(watch.latest) if isinstance(watch, Live) and watch.readers else {}

    def _emit_turn(self, row: Row, chunk: Chunk, result: Any) -> None:
        attention, shares = pack_attention(getattr(result, "attention", None))
        header = {
            "seq": row.seq,
            "turn": row.turn,
            "decision": row.decision,
            "p_speak": round(row.p_speak, 5),
            "words": row.words,
            "request": getattr(result, "request", ""),
            "heard": " ".join(row.heard),
            "typed": row.typed,
            "missed": row.missed,
            "late": row.late,
            "t0": chunk.sent_at,
            "shares": shares,
            "model_ms": round(row.model * 1e3, 2),
            "waited_ms": round(row.waited * 1e3, 2),
            "lost_video": self.queue.lost_video,
            "read": {name: round(value, 4) for name, value in row.read.items()},
        }
        sound = np.asarray(result.audio, np.float32)  # [3200]; silence is not sent, nor what comes too late
        audible = np.abs(sound).max() > SILENCE and not row.late
        self.emit(*turn_message(header, sound if audible else None, attention))
