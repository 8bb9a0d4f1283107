"""Many sessions on one model, in this process.

    with Engine(*load_checkpoint("nano"), folder="sessions") as engine:
        opened = engine.open(seed=3)
        future = engine.append(opened.id, opened.writer, Append(seq=0, audio=...))
        future.result().turn.decision

With a folder, sessions outlive the process. A turn's input is in the journal before the turn is run, so that a process
that is killed loses at most what was not yet answered; the sender asks again with the same chunk number. The journal is
handed to the operating system at every turn and to the disk itself at every snapshot: a power cut may lose what came
since. `stop` (or leaving the `with`) runs what waits, and writes every session's state. A program that should do so on
SIGTERM turns the signal into an exit: `signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))`.

A full disk: a chunk whose input cannot be written is not run, and refused with BusyError; its session stays as it was,
and so does every other one. What came of a turn that has run is owed, in memory, until the disk takes it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.builder import Builder, frozen
from tml_lab.serve.check_chunk import check_chunk
from tml_lab.serve.contract import (
    Append,
    BusyError,
    NoSessionError,
    NotAllowedError,
    Opened,
    Reply,
    ServeError,
    SessionInfo,
)
from tml_lab.serve.json_lines import note, short
from tml_lab.serve.limits import Limits
from tml_lab.serve.live import Live, Resolved, resolve
from tml_lab.serve.records import RecordError
from tml_lab.serve.scheduler import Scheduler
from tml_lab.serve.stats import Stats
from tml_lab.serve.step_many import StepMany, StepTogether
from tml_lab.serve.store import Shelf, Store
from tml_lab.stream.clock import turn_hearing
from tml_lab.stream.policy import Policy
from tml_lab.stream.recording import Recording, RecordingError
from tml_lab.stream.session import SessionError
from tml_lab.worlds.vocabulary import knows_everything

REMEMBERED = 1000  # sessions that are closed, so that closing twice is no error


class Engine:
    """Holds sessions, and runs their turns in a thread of its own; implements `contract.Sessions`.

    Args:
        model, tokenizer: from one checkpoint; the model is used by this engine alone.
        folder: where sessions are kept; None: in memory, and gone with the process.
        limits: see `Limits`.
        policy: what its sessions remember in the long run (`tml_lab.stream.policy`); None: as the model was trained.
        step_many: runs a batch of turns; None: `StepTogether`.
        clock: seconds that only go forward.

    Sessions that the folder holds come back; the turns after their last snapshot are run again in the background, and
    their chunks wait meanwhile. `unrestored` says of each that cannot come back why. Raises ServeError when another
    engine uses the folder.
    """

    def __init__(
        self, model: InteractionModel, tokenizer: TextTokenizer, *, folder: str | Path | None = None,
        limits: Limits | None = None, policy: Policy | None = None, step_many: StepMany | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.limits = limits or Limits()
        self._steps = StepTogether(self.limits.threads)
        self._clock = clock
        self._scheduler = Scheduler(self.limits, step_many or self._steps, clock, self._put_back, self.sweep)
        self._changed, self.counters = self._scheduler.changed, self._scheduler.counters
        self._lives = self._scheduler.lives
        self._may_ask, self._heads = knows_everything(tokenizer), model.cfg.heads_by_layer
        self._store = None if folder is None else Store(Path(folder))
        self._builder = Builder(model, tokenizer, self.limits, self._store, self._scheduler.computing, clock, policy)
        self._opening = 0  # places that are taken by sessions being made
        self._memory = 0  # bytes, as of the last look
        self._closed: dict[str, bytes] = {}  # name and key
        self._stopped = False
        self.unrestored: dict[str, str] = {}
        self._restore()
        self._scheduler.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def open(self, seed: int = 0, attention: tuple[int, int] | None = None) -> Opened:
        """A fresh session. Raises BusyError when no more are allowed, ServeError for a head that is not there."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise ServeError(f"a seed is a whole number, not {type(seed).__name__}.")
        writer = secrets.token_urlsafe(24)
        with self._counting(), self._place():
            live = self._builder.fresh(secrets.token_hex(8), _hashed(writer), int(seed), attention)
            self._enter(live)
            self.counters.opened += 1
        return Opened(live.id, writer, 0)

    def append(self, id: str, writer: str, chunk: Append) -> Future[Reply]:
        """Queue one chunk; see `contract.Sessions.append`. What listens to the future must be quick."""
        with self._counting():
            live = self._owned(id, writer)
            chunk = check_chunk(chunk, self.limits)
            with self._changed:
                self._still_open(live)
                waiting = sum(len(each.waiting) for each in self._lives.values())
                if self._memory > self.limits.memory and chunk.seq >= live.expected:
                    raise BusyError(f"the sessions here take {self._memory:,} bytes, all they may.", retry_after=2.0)
                wait = max(TURN_SECONDS, waiting * self._scheduler.seconds_a_turn)
                future, again = live.accept(chunk, self._clock(), wait)
                self.counters.again += again
                self._changed.notify_all()
            return future

    def fork(self, id: str, at: int | float | None = None) -> Opened:
        """A new session with the same past. A fork into the past comes at once and first runs its turns again."""
        writer = secrets.token_urlsafe(24)
        with self._counting(), self._place():
            live = self._find(id)
            with self._scheduler.claim(live) as session:
                if live.dead:
                    raise ServeError(live.dead)
                turn = _turn_of(at, live.known)
                finish = self._builder.fork(live, session, secrets.token_hex(8), _hashed(writer), turn)
            twin = self._guarded(finish)
            self._enter(twin)
            self.counters.forked += 1
        return Opened(twin.id, writer, twin.expected)

    def watch(self, id: str, writer: str, attention: tuple[int, int] | None) -> None:
        """Choose the head whose attention the replies carry, from the next turn on."""
        with self._counting(), self._scheduler.claim(self._owned(id, writer)) as session:
            try:
                session.attention = attention
            except (SessionError, TypeError, ValueError) as error:
                raise ServeError(str(error)) from error

    def info(self, id: str) -> SessionInfo:
        """How it stands."""
        live = self._find(id)
        with self._changed:
            return replace(live.info(self._clock()), may_ask=self._may_ask, heads=self._heads)

    def recording(self, id: str) -> Recording:
        """Everything so far, between two turns; pictures are read while the session is open, save them before.

        Raises BusyError while turns are still run again.
        """
        live = self._find(id)
        with self._counting(), self._scheduler.claim(live) as session:
            if live.behind and not live.dead:
                left = live.known - session.turn
                raise BusyError(f"{left} turns of this session are still run again: ask again later.", retry_after=1.0)
            view = frozen(session)
        try:
            return view.recording({"session": id})
        except RecordingError as error:
            raise ServeError(str(error)) from error

    def close(self, id: str, writer: str) -> None:
        """End a session and delete what is kept of it. Closing twice is no error."""
        with self._changed:
            if (key := self._closed.get(id)) is not None and hmac.compare_digest(key, _hashed(writer)):
                return
        live = self._owned(id, writer)
        with self._scheduler.claim(live), self._changed:
            told = self._take_out(live)
            self.counters.closed += 1
        resolve(told)
        if live.shelf is not None:
            live.shelf.remove()

    def stats(self) -> Stats:
        """How the engine stands, in plain numbers."""
        with self._changed:
            lives, count = list(self._lives.values()), self.counters
            since = replace(count, refused=count.refused.copy(), step=count.step.copy(), reply=count.reply.copy())
            shelves = [live.shelf for live in lives if live.shelf is not None]
            return Stats(
                since=since, sessions=len(lives), behind=sum(live.behind for live in lives),
                waiting=sum(len(live.waiting) for live in lives), late=self._scheduler.late(self._clock()),
                memory=sum(live.memory for live in lives), kept=sum(live.kept for live in lives),
                snapshots=sum(shelf.written for shelf in shelves),
                snapshots_failed=sum(shelf.failed for shelf in shelves),
            )  # fmt: skip

    def sweep(self) -> None:
        """Close what was idle too long, and look how much memory is taken; the engine does so once a second."""
        told, removed = [], []
        with self._changed:
            self._memory = sum(live.memory for live in self._lives.values())
            for live in list(self._lives.values()):
                idle = self._clock() - live.heard
                free = not (live.busy or live.wanted or live.waiting or live.behind)
                if free and self.limits.idle is not None and idle > self.limits.idle:
                    note("closed while idle", session=short(live.id), seconds=round(idle))
                    told += self._take_out(live)
                    self.counters.idled += 1
                    removed.append(live)
        resolve(told)
        for live in removed:
            if live.shelf is not None and self._store is not None:
                self._store.writer.submit(live.shelf.remove)

    def stop(self) -> None:
        """Run what waits, write every session's state, and end. Stopping twice is no error."""
        self._scheduler.stop()
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            lives = list(self._lives.values())
            told = [each for live in lives for each in live.give_up(_stopping())]
        resolve(told)
        for live in lives:
            if live.shelf is None or live.closed:
                continue
            with suppress(NoSessionError), self._scheduler.claim(live) as session:
                if not live.dead:
                    live.shelf.snapshot(session, wait=True)
                live.shelf.close()
        self._steps.close()
        if self._store is not None:
            self._store.close()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except ServeError as error:
            with self._changed:
                self.counters.refused[error.code] += 1
            raise

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Room for one more session, while it is made. Raises BusyError."""
        with self._changed:
            if self._scheduler.stopping:
                raise _stopping()
            held = len(self._lives) + self._opening
            if held >= self.limits.sessions:
                raise BusyError(f"{held} sessions are open, and no more may be: try again later.", retry_after=10.0)
            if self._memory > self.limits.memory:
                raise BusyError(f"the sessions here take {self._memory:,} bytes, all they may.", retry_after=10.0)
            if self._scheduler.overloaded:
                raise BusyError("replies are late already: try again in a few seconds.", retry_after=2.0)
            self._opening += 1
        try:
            yield
        finally:
            with self._changed:
                self._opening -= 1

    def _enter(self, live: Live) -> None:
        with self._changed:
            if not self._scheduler.stopping:
                self._lives[live.id] = live
                self._memory += live.memory
                self._changed.notify_all()
                return
        if live.shelf is not None:
            live.shelf.remove()
        raise _stopping()

    def _take_out(self, live: Live) -> list[Resolved]:
        """Forget a session; whom to tell. The lock is held."""
        live.closed = True
        del self._lives[live.id]
        self._memory -= live.memory
        self._closed[live.id] = live.key
        if len(self._closed) > REMEMBERED:
            del self._closed[next(iter(self._closed))]
        return live.give_up(NoSessionError(f"session {live.id} was closed."))

    def _find(self, id: str) -> Live:
        with self._changed:
            if (live := self._lives.get(id)) is not None:
                return live
            if id in self._closed:
                raise NoSessionError(f"session {id} was closed, by its writer or because no chunk came for long.")
        raise NoSessionError(self.unrestored.get(id, "there is no session of this name: open one."))

    def _owned(self, id: str, writer: str) -> Live:
        live = self._find(id)
        if not hmac.compare_digest(_hashed(writer), live.key):
            raise NotAllowedError("this is not the key of the session's writer.")
        return live

    def _still_open(self, live: Live) -> None:
        """The lock is held."""
        if self._scheduler.stopping:
            raise _stopping()
        if live.closed:
            raise NoSessionError(f"session {live.id} was closed.")

    def _restore(self) -> None:
        """Bring back what the folder holds; what cannot come back does not hinder the rest."""
        for found in self._store.found() if self._store else ():
            if isinstance(found, Shelf):
                name = found.about.id
                try:
                    self._lives[name] = self._builder.restored(found)
                    self.counters.restored += 1
                    continue
                except (ServeError, RecordError, OSError) as error:
                    sentence = f"session {name} cannot come back: {error}."
            else:
                name, sentence = found
            note("cannot come back", logging.WARNING, session=short(name), why=sentence.replace(name, short(name)))
            self.unrestored[name] = sentence
            self.counters.unrestored += 1

    def _guarded(self, finish: Callable[[], Live]) -> Live:
        try:
            return finish()
        except (RecordError, RecordingError, OSError) as error:
            raise ServeError(f"the session's past cannot be read: {error}") from error

    def _put_back(self, live: Live) -> None:
        """After a failure of the model; in a thread of its own, the session is kept from others meanwhile."""
        try:
            self._builder.put_back(live)
        except Exception as error:
            note("cannot be put back", logging.ERROR, error, session=short(live.id))
            with self._changed:
                live.dead = f"session {live.id} cannot go on: {error}"
                told = live.give_up(ServeError(live.dead))
            resolve(told)
        with self._changed:
            live.busy = False
            self._changed.notify_all()


def _hashed(writer: str) -> bytes:
    return hashlib.sha256(str(writer).encode(errors="replace")).digest()


def _stopping() -> BusyError:
    return BusyError("the server is going down: connect again in a few seconds.", retry_after=3.0)


def _turn_of(at: int | float | None, known: int) -> int:
    """The turn before which to fork. Raises ServeError."""
    if at is None:
        return known
    try:
        turn = int(at) if isinstance(at, int | np.integer) else turn_hearing(float(at))
    except (TypeError, ValueError, OverflowError) as error:
        raise ServeError(f"a fork is made at a turn or at a second: {error}") from error
    if not 0 <= turn <= known:
        raise ServeError(f"cannot fork at turn {turn}: the session has had {known} turns.")
    return turn
