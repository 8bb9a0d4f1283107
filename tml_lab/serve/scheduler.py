"""One thread runs the turns of all sessions: the earliest deadline first, one turn of a session at a time.

A chunk's deadline is 0.2 s after it came. Of a burst, each chunk's deadline is a little less than a turn after that of
the one before, so that a writer who sends faster than time goes by only gets what the others leave. Turns that are run
again (after a restart, for a fork into the past) and gap turns are due one turn after the turn before: they take a live
session's share, and all that is left over.

When the model cannot keep up, things go in this order: pictures of chunks past their deadline; new sessions and forks,
for as long as replies are more than a turn late; and then chunks, each session's own, when too many of them wait.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tml_lab.config import TURN_SECONDS
from tml_lab.serve.contract import BadChunkError, NoSessionError, ServeError
from tml_lab.serve.json_lines import note, short
from tml_lab.serve.limits import Limits
from tml_lab.serve.live import Live, Resolved, Work, resolve
from tml_lab.serve.records import RecordError, pack_output
from tml_lab.serve.stats import Counters
from tml_lab.serve.step_many import StepFailedError, StepMany
from tml_lab.serve.store import disk_refused
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

log = logging.getLogger(__name__)

CHECK = 1.0  # seconds between two looks for idle sessions
LATE_FOR = 2.0  # seconds for which no session is opened after a reply that was more than a turn late
FAILURES = 3  # of the model in one session, after which it is not put back again


class Scheduler:
    """The sessions that are open, the lock that guards them, and the thread that runs their turns.

    Args:
        step_many: runs a batch.
        clock: seconds that only go forward.
        put_back: makes a session anew from what is kept of it, after the model failed inside a turn; its thread
            is not the scheduler's.
        sweep: called about once a second, in the scheduler's thread, without the lock.
    """

    def __init__(
        self, limits: Limits, step_many: StepMany, clock: Callable[[], float], put_back: Callable[[Live], None],
        sweep: Callable[[], None],
    ) -> None:  # fmt: skip
        self.limits, self.clock = limits, clock
        self._step_many, self._put_back, self._sweep = step_many, put_back, sweep
        self.lives: dict[str, Live] = {}
        self.counters = Counters()
        self.changed = threading.Condition()  # the engine's lock
        self.computing = threading.Lock()  # one thread at a time uses the model
        self.seconds_a_turn = TURN_SECONDS / 10  # lately
        self._late_until = float("-inf")
        self._drain_until: float | None = None
        self._thread = threading.Thread(target=self._run, name="tml-engine", daemon=True)

    def start(self) -> None:
        """Begin to run turns."""
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether no more chunks are taken."""
        return self._drain_until is not None

    def stop(self) -> None:
        """Run what waits, for `Limits.drain` seconds at most, and end the thread."""
        with self.changed:
            if self._drain_until is None:
                self._drain_until = self.clock() + self.limits.drain
            self.changed.notify_all()
        self._thread.join()

    @property
    def overloaded(self) -> bool:
        """Whether replies are more than a turn late. The lock is held."""
        now = self.clock()
        if not self.limits.shed:
            return False
        return now < self._late_until or self.late(now) > TURN_SECONDS

    def late(self, now: float) -> float:
        """Seconds by which the most urgent waiting chunk is past its deadline, or 0. The lock is held."""
        due = [live.waiting[0].due for live in self.lives.values() if live.waiting and not live.behind]
        return max(0.0, now - min(due)) if due else 0.0

    @contextmanager
    def claim(self, live: Live) -> Iterator[Session]:
        """Have a session for oneself, between two turns; the others' turns go on. Raises NoSessionError."""
        with self.changed:
            live.wanted += 1
            try:
                self.changed.wait_for(lambda: not live.busy)
            finally:
                live.wanted -= 1
            if live.closed:
                raise NoSessionError(f"session {live.id} was closed.")
            live.busy = True
        try:
            yield live.session
        finally:
            self._release([live])

    def _release(self, lives: Sequence[Live]) -> None:
        with self.changed:
            for live in lives:
                live.busy = False
            self.changed.notify_all()

    def _run(self) -> None:
        swept = self.clock()
        while True:
            with self.changed:
                picked = self._pick()
                if self.stopping and (not picked or self.clock() >= (self._drain_until or 0.0)):
                    return
                if not picked:
                    self.changed.wait(CHECK)
                for work in picked:
                    work.live.busy = True
            if picked:
                self._turns(picked)
            if self.clock() - swept >= CHECK:
                swept = self.clock()
                try:
                    self._sweep()
                except Exception:
                    log.exception("the look for idle sessions failed")

    def _pick(self) -> list[Work]:
        """The most urgent turns, each of another session."""
        ready = [work for live in self.lives.values() if (work := live.next())]
        if self.stopping:  # what is run again is in the journal, and can wait for the next start
            ready = [work for work in ready if work.live.waiting and not work.again]
        return heapq.nsmallest(self.limits.batch, ready, key=lambda work: work.due)

    def _turns(self, picked: list[Work]) -> None:
        """Run a batch; its sessions are busy. Whatever goes wrong, the thread goes on."""
        told: list[Resolved] = []
        putting_back: list[Live] = []
        try:
            batch = [work for work in picked if self._begin(work, told)]
            began = self.clock()
            with self.computing:
                results = self._step_many([w.live.session for w in batch], [w.given for w in batch])
            seconds = self.clock() - began
            if batch:
                self.counters.step.observe(seconds)
                self.seconds_a_turn += 0.1 * (seconds / len(batch) - self.seconds_a_turn)
            for work, result in zip(batch, results, strict=True):
                if isinstance(result, ServeError):
                    told += self._failed(work, result, putting_back)
                else:
                    told += self._done(work, result, seconds)
            self._snapshot([w.live for w in batch if not w.live.dead and w.live not in putting_back])
        except Exception as error:
            log.exception("a batch of turns failed")
            sentence = ServeError(f"the server failed inside a turn ({type(error).__name__}).")
            with self.changed:
                for work in picked:
                    work.live.dead = work.live.dead or f"session {work.live.id} cannot go on: {sentence}"
                    told += work.live.give_up(sentence)
        self._release([work.live for work in picked if work.live not in putting_back])
        for live in putting_back:
            threading.Thread(target=self._put_back, args=(live,), name="tml-put-back", daemon=True).start()
        resolve(told)

    def _begin(self, work: Work, told: list[Resolved]) -> bool:
        """Make a turn ready to run: shed what is late, write the journal; whether it can run."""
        live, now = work.live, self.clock()
        work.began = now
        try:
            if work.again:
                assert live.past is not None
                work.given = live.past(live.session.turn)
                live.session.attention = work.given.watched
                return True
            if self.limits.shed and work.given.frames is not None and now > work.due:
                work.given = work.given._replace(frames=None, shed=True)
                self.counters.shed_pictures += 1
            if live.shelf is not None:
                live.shelf.journal.begin(work.given)
            return True
        except OSError as error:
            refused = disk_refused(error)
        except (RecordError, ValueError) as error:
            refused = ServeError(f"session {live.id} cannot go on: {error}")
        with self.changed:
            if work.again:
                live.dead = f"session {live.id} cannot go on: {refused}"
                told += live.give_up(ServeError(live.dead))
            else:
                self.counters.refused[refused.code] += 1
                told += live.drop(refused)
        return False

    def _done(self, work: Work, result: TurnResult, seconds: float) -> list[Resolved]:
        """Journal and reply."""
        live, now = work.live, self.clock()
        if live.shelf is not None and result.turn >= live.shelf.journal.done:
            live.shelf.journal.end(pack_output(result, live.session.tape))
        with self.changed:
            told = live.done(work, result, seconds, now)
            count = self.counters
            count.replayed += work.again
            count.turns += not work.again
            count.gaps += work.given.gap and not work.again
            if work.waiting is not None:
                count.reply.observe(now - work.waiting.arrived)
                count.missed += now > work.due
                if now > work.due + TURN_SECONDS:
                    self._late_until = now + LATE_FOR
        return told

    def _snapshot(self, lives: Sequence[Live]) -> None:
        """One at a time, or those who began together would all be copied in one batch."""
        ages = {live: live.session.turn - live.shelf.taken for live in lives if live.shelf is not None}
        oldest = max(ages, key=lambda live: ages[live], default=None)
        if oldest is not None and oldest.shelf is not None and ages[oldest] >= self.limits.snapshot:
            oldest.shelf.snapshot(oldest.session)

    def _failed(self, work: Work, error: ServeError, putting_back: list[Live]) -> list[Resolved]:
        """The turn did not come to its end; what becomes of the session."""
        live = work.live
        note("turn not run", logging.WARNING, session=short(live.id), turn=live.session.turn, code=error.code)
        if live.shelf is not None and not work.again:
            live.shelf.journal.void()
        with self.changed:
            self.counters.failed += isinstance(error, StepFailedError)
            self.counters.refused[error.code] += 1
            if isinstance(error, BadChunkError) and not work.again:
                return live.drop(error)
            live.failures += 1
            if work.again or live.failures > FAILURES:
                live.dead = f"session {live.id} cannot go on: {error}"
                return live.give_up(ServeError(live.dead))
            putting_back.append(live)
            return live.drop(error)

