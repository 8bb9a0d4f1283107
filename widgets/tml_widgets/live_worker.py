"""The one thread that runs the model while a live session is on.

Message handlers only copy bytes into a queue; everything that touches the model (loading, stepping, saving)
happens here, in order, so that no two threads ever share a session and the kernel stays free for cells.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable
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
from tml_lab.serve.contract import BusyError
from tml_lab.serve.remote_line import UnreachableError
from tml_lab.stream.checkpoint_hash import weights_hash
from tml_lab.stream.recording import SKIPPED, Skipped, Sound
from tml_lab.stream.words_heard import WordsHeard, ear_of
from tml_widgets.beside import Beside
from tml_widgets.live_python import live_python
from tml_widgets.protocol import pack_attention, turn_message
from tml_widgets.rewind import Kept, go_back
from tml_widgets.row import Row, heard_by_turn, past_message
from tml_widgets.saving import Writers

log = logging.getLogger("tml_widgets.live")

AWAY = (UnreachableError, BusyError, ConnectionError, TimeoutError)  # of a server: it may come back
KERNEL = "kernel"  # has a session wait
SILENCE = 1e-4  # largest sample of a turn that is not worth playing
PATIENCE = 1800.0  # seconds without a chunk after which a live session waits to be taken up again; a lid may be closed


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
class LiveWorker:
    """Takes chunks from `queue`, steps the session, emits a `turn` message for each.

    Args:
        make_session: makes a fresh session; called at every start, in the worker's thread.
        assist: puts a colleague beside a session that is a fork of another one, where sessions have one.
        queue: where the sources put chunks.
        emit: sends one message to the browser; may be called from any thread.
    """

    make_session: Callable[[], SessionLike]
    queue: ChunkQueue
    emit: Emit
    session: SessionLike | None = None
    before: SessionLike | None = None  # the one before it, so that a wrong click loses nothing
    rows: list[Row] = field(default_factory=list)
    phase: str = "stopped"
    notice: str = ""
    attention: tuple[int, int] | None = None
    beside: Beside | None = None  # when the session has a colleague
    after_turn: Callable[[Row], None] | None = None  # called in the worker's thread
    inside: Callable[[Any], Live] | None = None  # makes the readers, and the edits, of a session
    assist: Callable[[Any], SessionLike] = lambda session: session
    _thread: threading.Thread | None = None
    _ear: WordsHeard | None = None
    _fast: bool = False
    _skipped: int = 0  # turns since the last row
    _writers: Writers = field(default_factory=Writers)
    stands_still: bool = False  # the queue's time
    held: str = ""  # who has it wait: it then goes on only when it is asked to, not with the next chunk

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
        self.held = ""
        self.stand_still(False)
        self.queue.clear()
        self.command(lambda: self._begin(phase, ready))

    def pause(self, notice: str = "", held: str = "") -> None:
        """Let a live session wait, after the chunks already queued; its clock stands still until `resume`.

        Args:
            held: who asks for it, a page; every other page that shows the session closes its microphone. "": nobody,
                and the next chunk that comes takes the session up.
        """
        self.held = held
        self.stand_still(True)
        self.command(lambda: self._pause(notice, held))

    def resume(self, ready: Callable[[], None]) -> None:
        """Take up the session that waits, with the next chunk; where there is none, a fresh one."""
        waits = ("paused", "live")  # live: a page that was away comes back before anybody missed it
        self.held = ""
        self.stand_still(False)
        self.command(lambda: self._resume(ready) if self.phase in waits else self._begin("live", ready))

    def rewind(self, turn: int, held: str, kept: Kept, done: Callable[[], None]) -> None:
        """Go back to before a turn (`rewind.go_back`); `done` is called in the worker's thread when it has."""
        self.held = held
        self.stand_still(False)
        self.queue.clear()
        self.stand_still(True)
        self.command(lambda: done() if go_back(self, turn, held, kept) else None)

    def stand_still(self, on: bool) -> None:
        """Stop the queue's time, from what waits there on, or let it go on with the next chunk."""
        if on != self.stands_still:
            (self.queue.pause if on else self.queue.resume)()
            self.stands_still = on

    def end(self, notice: str = "") -> None:
        """End the session after the chunks already queued; its recording can still be saved."""
        self.command(lambda: self._end(notice))

    def save(self, path: Path) -> None:
        """Save the recording to `path`, as it stands between two turns; it is written beside those that follow."""
        self.command(lambda: self._save(path))

    def through(self, chunks: Iterable[Chunk]) -> Generator[Row, None, None]:
        """A fresh session through these chunks at once, a turn at each `next`, in the thread that calls.

        For a worker of its own: no queue and no thread take part.
        """
        self._begin("playing", None)
        try:
            for chunk in chunks:
                if self.phase != "playing":
                    return
                self._turn(chunk)
                yield self.rows[-1]
        finally:
            self._end("")

    def drain(self, seconds: float) -> None:
        """Wait until everything put into the queue so far is done, and written. Raises TimeoutError after `seconds`."""
        deadline, done = time.monotonic() + seconds, threading.Event()
        self.command(done.set)
        if not done.wait(seconds):
            raise TimeoutError(f"The model is not done after {seconds:.0f} s.")
        if not self._writers.wait(deadline):
            raise TimeoutError(f"The recording is not written after {seconds:.0f} s.")

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
        if hasattr(self.talk, "observer"):
            self.talk.observer = None if inside is None else inside(self.talk)

    def tell_all(self) -> None:
        """Tell a page that knows nothing what stands beside the conversation, and what happened in the last minute."""
        if self.rows:
            reel = getattr(getattr(self.talk, "tape", None), "reel", None)
            self.emit(past_message(self.rows, reel if hasattr(reel, "heard") else None))
        self._tell_beside()

    def _tell_beside(self) -> None:
        if self.beside is not None:
            self.emit(self.beside.whole(self.rows[-1].turn if self.rows else 0))

    def _dismiss(self) -> None:
        """The colleague's open tasks are called off, and its thread ends."""
        if self.beside is not None:
            self.beside.assisted.close()

    def _begin(self, phase: str, ready: Callable[[], None] | None) -> None:
        self.status("loading", "Waking the model ...")
        self._dismiss()
        if self.rows:
            self.before = self.session
        try:
            self.session = self.make_session()
        except Exception as error:
            log.exception("the session could not be made")
            self.status("error", f"The model could not be started: {error}")
            return
        self.rows = []
        self._look_inside()
        if hasattr(self.talk, "model"):
            weights_hash(self.talk.model)  # which `save` asks for; a tenth of a second that no turn should wait for
        self.hurry(True)
        self.status(phase)
        if ready is not None:
            ready()

    def _look_inside(self) -> None:
        """What belongs to the session that is there now: readers, the ear, the colleague's place."""
        self._skipped = 0
        self._attach(self.inside)
        self.beside = Beside(self.session) if isinstance(self.session, Assisted) else None
        self._ear = ear_of(self.talk)
        if isinstance(self.session, Assisted):
            self.session.heard = lambda: heard_by_turn(self.rows)
        self._tell_beside()

    def take_place(self, fork: Any, turn: int) -> None:
        """A fork of the session, made before `turn`, goes on in its place, in the worker's thread."""
        self._dismiss()
        self.before, self.session = self.session, self.assist(fork)
        self.rows = [row for row in self.rows if row.turn < turn]
        self._look_inside()

    def _pause(self, notice: str, held: str = "") -> None:
        if self.phase == "live":
            self.hurry(False)
            self.status("paused", notice, held=held)

    def _resume(self, ready: Callable[[], None] | None = None) -> None:
        self.hurry(True)
        self.status("live")
        if ready is not None:
            ready()

    def hurry(self, on: bool) -> None:
        """Let this thread have the interpreter sooner while a session is live (see `live_python`)."""
        if on != self._fast:
            (live_python.enter if on else live_python.leave)()
            self._fast = on

    @property
    def talk(self) -> Any:
        """The session itself, which a colleague may be wrapped around."""
        return self.session.session if isinstance(self.session, Assisted) else self.session

    def _end(self, notice: str) -> None:
        self._dismiss()
        self._tell_beside()
        self.hurry(False)
        if self.phase != "error":
            self.status("stopped", notice)

    def _save(self, path: Path) -> None:
        if self.session is None or not self.rows:
            self.status(self.phase, "There is nothing to save yet: start a session first.")
            return
        try:
            recording = self.session.recording()  # a copy
        except Exception as error:
            self._not_saved(error)
            return
        saved = {"kind": "saved", "path": str(path)}
        self._writers.write(recording, path, lambda: self.emit(saved), self._not_saved)

    def _not_saved(self, error: Exception) -> None:
        log.error("the recording could not be saved", exc_info=error)
        remedy = "Make room there, or save elsewhere: live.save('folder'). Nothing is lost."
        self.status(self.phase, f"The recording could not be saved: {str(error).rstrip('.')}. {remedy}")

    def _run(self) -> None:
        # Of this thread only. A turn is too small to share out: with two threads and a busy browser on two cores,
        # each waits for the other, and a turn of 14 ms took 4 s.
        torch.set_num_threads(1)
        while True:
            live = self.phase in ("live", "playing")
            item = self.queue.get(patience=PATIENCE if live else None)
            if isinstance(item, Chunk):
                by_itself = self.phase == "paused" and not self.held
                if by_itself and isinstance(item.audio, np.ndarray):  # a page that slept
                    self.stand_still(False)
                    self._resume()
                if self.phase in ("live", "playing"):
                    self._turn(item)
            elif item is not None:
                item()
            elif self.queue.closed:
                return
            elif self.phase == "live":
                self.stand_still(True)
                self._pause(f"No sound has come for {PATIENCE / 60:.0f} minutes, so the session waits: press Go on.")
            elif live:
                self._end(f"No sound has come for {PATIENCE / 60:.0f} minutes, so the session has ended.")

    def _turn(self, chunk: Chunk) -> None:
        try:
            self._step(chunk)
        except AWAY as error:
            if self.phase == "live":
                self._wait_for_server(error, chunk)
            else:
                self._broken(error)
        except Exception as error:
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        log.error("turn failed", exc_info=error)
        self._end("")
        self.status("error", f"The model stopped with an error: {error}")

    def _wait_for_server(self, error: Exception, chunk: Chunk) -> None:
        """The session is as it was, on a server that does not answer: it waits there."""
        self.held = KERNEL
        if chunk.text:
            self.queue.type(chunk.text)
        self.queue.give_up()  # each of these would wait as long in vain
        self.stand_still(True)
        words = str(error)
        self._pause(f"{words[:1].upper()}{words[1:]} The session waits: press Go on when the server is back.", KERNEL)

    def _step(self, chunk: Chunk) -> None:
        assert self.session is not None
        if isinstance(chunk.audio, Skipped):
            for _ in range(chunk.turns):
                self.session.step(SKIPPED)
            self._skipped += chunk.turns
            return
        if hasattr(self.talk, "attention"):
            self.talk.attention = self.attention
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
            request=getattr(result, "request", ""),
            note=getattr(result, "note", ""),
        )
        self._skipped = 0
        self.rows.append(row)
        if row.late and row.decision == SPEAK and hasattr(self.talk, "not_played"):
            self.talk.not_played(row.turn)
        self._emit_turn(row, chunk, result)
        if self.beside is not None and (news := self.beside.news(row.turn)) is not None:
            self.emit(news)
        if self.after_turn is not None:
            self.after_turn(row)

    def _read(self) -> dict[str, float]:
        """What the readers said of the turn just made."""
        watch = getattr(self.talk, "observer", None)
        return dict(watch.latest) if isinstance(watch, Live) and watch.readers else {}

    def _emit_turn(self, row: Row, chunk: Chunk, result: Any) -> None:
        attention, shares = pack_attention(getattr(result, "attention", None))
        more = {"t0": chunk.sent_at, "shares": shares, "lost_video": self.queue.lost_video}
        sound = np.asarray(result.audio, np.float32)  # [3200]; silence is not sent
        heard = sound if np.abs(sound).max() > SILENCE and not row.late else None  # nor what comes too late
        self.emit(*turn_message(row.header() | more, heard, attention, getattr(result, "patches", None)))
