"""One session inside an engine: the chunks that wait for it, the replies that are kept, and what is due next.

Nothing here locks: the engine's lock is held by whoever calls, except where it says otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.serve.catch_up import Rule
from tml_lab.serve.contract import (
    Append,
    BusyError,
    ChunkGapError,
    Reply,
    ServeError,
    SessionInfo,
    TooLongError,
)
from tml_lab.serve.limits import Limits
from tml_lab.serve.records import TurnIn
from tml_lab.serve.store import Shelf
from tml_lab.stream.reels import MINUTES
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

PACE = 0.9 * TURN_SECONDS  # between the deadlines of chunks that come in a burst: a writer who fell behind catches up
LEAD = 2.0  # seconds: no deadline lies further off, or a writer who ran ahead would never come first again
ROW_BYTES = 1500  # that a tape keeps of a turn, beside sound and pictures
TAPE_MOST, REEL_MOST = 8 << 20, 3 * MINUTES  # bytes of them in memory: what is older lies in a temporary folder
LOST = Rule()  # which of the turns that are lost are skipped, and which are run as gaps
Resolved = tuple["Future[Reply]", "Reply | ServeError"]


@dataclass(eq=False)
class Waiting:
    """A chunk that waits; clocks are the engine's, in seconds. `first`: of the turns that are lost before it."""

    chunk: Append
    future: Future[Reply]
    arrived: float
    due: float
    first: int


@dataclass(eq=False)
class Work:
    """A turn that can run now.

    Args:
        waiting: the chunk it runs, or None for a gap turn before a chunk and for a turn that is run again.
        again: whether it ran before, and is in the journal.
    """

    live: Live
    given: TurnIn
    due: float
    waiting: Waiting | None = None
    again: bool = False
    began: float = 0.0


class Live:
    """A session that is open.

    Args:
        key: SHA-256 of the writer's key.
        known: turns whose inputs are known; those from `session.turn` on are run again, before anything else.
        past: gives the input of such a turn.
    """

    def __init__(
        self, id: str, key: bytes, session: Session, limits: Limits, now: float, shelf: Shelf | None = None,
        known: int = 0, past: Callable[[int], TurnIn] | None = None,
    ) -> None:  # fmt: skip
        self.id, self.key, self.session, self.shelf = id, key, session, shelf
        self.limits, self.restored = limits, ""
        self.known, self.past = known, past
        self.waiting: deque[Waiting] = deque()
        self.replies: dict[int, Reply] = {}  # by chunk number, the oldest first
        self.gaps: list[TurnResult] = []  # since the last chunk
        self.asked: dict[int, Future[Reply]] = {}  # for turns that are accepted and have no future of their own
        self.answered = session.turn  # turns whose replies were made; the session itself may be one ahead
        self.expected = known
        self.busy = False  # somebody works on the session: the scheduler, a fork, a recording
        self.wanted = 0  # others who wait to
        self.closed = False
        self.dead = ""  # why it cannot go on, one sentence
        self.failures = 0
        self.heard = self.ready = self.pace = now  # when the last chunk came; when the last turn was done
        self.state_bytes = sum(t.numel() * t.element_size() for t in session.state.values())
        self.in_memory = 0  # bytes of sound and pictures on a tape without a journal, older ones on disk

    @property
    def kept(self) -> int:
        """Bytes of the recording."""
        return self.shelf.journal.bytes if self.shelf else self.in_memory

    @property
    def memory(self) -> int:
        """Bytes that the session takes in this process, counted and not measured."""
        waiting = sum(_size(w.chunk.audio) + _size(w.chunk.frames) for w in self.waiting)
        replies = len(self.replies) * TURN_SAMPLES * 4
        tape = min(self.session.tape.turns * ROW_BYTES, TAPE_MOST) + min(self.in_memory, REEL_MOST)
        return self.state_bytes + tape + waiting + replies

    @property
    def behind(self) -> bool:
        """Whether turns are still to be run again."""
        return self.session.turn < self.known

    def info(self, now: float) -> SessionInfo:
        """How it stands."""
        idle = max(0.0, now - self.heard)
        return SessionInfo(self.id, self.expected, self.session.turn, idle, self.kept, self.restored)

    def accept(self, chunk: Append, now: float, wait: float) -> tuple[Future[Reply], bool]:
        """Take a chunk whose content was checked: its future, and whether it had come before.

        Args:
            wait: seconds after which a writer should try again when too many chunks wait.

        Raises ChunkGapError, BusyError, TooLongError, and ServeError for a chunk that is long past.
        """
        if self.dead:
            raise ServeError(self.dead)
        if chunk.seq < self.expected:
            self.heard = now
            return self._answer_again(chunk.seq), True
        missing = chunk.seq - self.expected
        if missing > chunk.lost:
            raise ChunkGapError(
                f"chunk {chunk.seq} came, but chunk {self.expected} is expected: send it, or say how many are lost.",
                expected=self.expected,
            )
        if chunk.seq >= round(self.limits.seconds / TURN_SECONDS):
            raise TooLongError(f"a session lasts {self.limits.seconds:g} s at most: open a new one.")
        if self.kept >= self.limits.kept:
            raise TooLongError(f"the recording has {self.kept:,} bytes, and no more are kept: open a new session.")
        if len(self.waiting) >= self.limits.waiting:
            raise BusyError(
                f"{len(self.waiting)} chunks of this session wait already: send chunk {chunk.seq} again later.",
                retry_after=wait,
                expected=self.expected,
            )
        gaps = min(missing, LOST.most) if missing > LOST.bridge else 0  # what is skipped takes no time
        self.pace = min(max(now, self.pace) + PACE * (1 + gaps), now + LEAD + TURN_SECONDS * gaps)
        waiting = Waiting(chunk, _future(), now, max(now + TURN_SECONDS, self.pace), self.expected)
        self.waiting.append(waiting)
        self.expected, self.heard = chunk.seq + 1, now
        return waiting.future, False

    def _answer_again(self, seq: int) -> Future[Reply]:
        """The reply that a chunk got, or its future when it has none yet."""
        if seq in self.replies:
            future = _future()
            future.set_result(replace(self.replies[seq], again=True))
            return future
        if seq < self.answered:
            raise ServeError(
                f"the reply to chunk {seq} is no longer kept (only the last {self.limits.replies} are): "
                f"go on with chunk {self.expected}.",
                expected=self.expected,
            )
        for waiting in self.waiting:
            if waiting.chunk.seq == seq:
                return waiting.future
        return self.asked.setdefault(seq, _future())

    def next(self) -> Work | None:
        """The turn that can run now, if there is one."""
        if self.busy or self.wanted or self.closed or self.dead:
            return None
        if self.behind:
            assert self.past is not None
            return Work(self, TurnIn(None), self.ready + TURN_SECONDS, again=True)  # its input is read when it runs
        if not self.waiting:
            return None
        first = self.waiting[0]
        watched = self.session.attention
        if self.session.turn < first.chunk.seq:
            skipped = _skips(self.session.turn, first.first, first.chunk.seq)
            return Work(self, TurnIn(None, watched=watched, gap=True, skipped=skipped), self.ready + TURN_SECONDS)
        chunk = first.chunk
        given = TurnIn(chunk.audio, chunk.frames, chunk.text, watched, lost=chunk.lost)
        return Work(self, given, first.due, first)

    def done(self, work: Work, result: TurnResult, seconds: float, now: float) -> list[Resolved]:
        """A turn has run; whom to tell."""
        turn, waiting = result.turn, work.waiting
        self.known, self.answered, self.ready = max(self.known, turn + 1), turn + 1, now
        if self.shelf is None:
            self.in_memory += 2 * TURN_SAMPLES * 4 + _size(work.given.frames)
        waited = max(0.0, work.began - waiting.arrived) if waiting else 0.0
        reply = Reply(turn, result, waited=waited, model=seconds, shed=work.given.shed)
        if work.given.gap:
            self.gaps += [] if work.given.skipped else [result]
        else:
            reply, self.gaps = replace(reply, gaps=last(self.gaps, work.given.lost)), []
        if not work.again or turn not in self.replies:
            self.keep(reply)
        if not self.behind:
            self.past = None
        told: list[Resolved] = []
        if waiting:
            self.waiting.popleft()
            told.append((waiting.future, reply))
        if (asked := self.asked.pop(turn, None)) is not None:
            told.append((asked, replace(reply, again=True)))
        return told

    def keep(self, reply: Reply) -> None:
        """Keep a reply for a writer who asks again; the oldest one goes."""
        self.replies[reply.seq] = reply
        if len(self.replies) > self.limits.replies:
            del self.replies[next(iter(self.replies))]

    def drop(self, error: ServeError) -> list[Resolved]:
        """The turn in work did not run: its chunk gets `error`, those behind it have to be sent again."""
        self.expected = self.known
        later = ChunkGapError(f"chunk {self.known} before it was not run: send from there.", expected=self.known)
        told: list[Resolved] = [(w.future, later if n else error) for n, w in enumerate(self.waiting)]
        told += [(future, later) for seq, future in self.asked.items() if seq >= self.known]
        self.waiting.clear()
        self.asked = {seq: future for seq, future in self.asked.items() if seq < self.known}
        return told

    def give_up(self, error: ServeError) -> list[Resolved]:
        """Nothing that waits will be run."""
        told: list[Resolved] = [(future, error) for future, _ in self.drop(error)]
        told += [(future, error) for future in self.asked.values()]
        self.asked.clear()
        return told


def _skips(turn: int, first: int, end: int) -> bool:
    """Whether a turn of the lost ones, `[first, end)`, passes without the model; see `catch_up`."""
    return end - first <= LOST.bridge or turn < end - LOST.most


def last(results: list[TurnResult], count: int) -> tuple[TurnResult, ...]:
    """The last `count` of them, or as many as there are."""
    return tuple(results[-count:]) if count else ()


def _future() -> Future[Reply]:
    """A future that cannot be cancelled: a turn that was accepted is run, whoever still listens."""
    future: Future[Reply] = Future()
    future.set_running_or_notify_cancel()
    return future


def _size(array: Any) -> int:
    return 0 if array is None else array.nbytes


def resolve(told: list[Resolved]) -> None:
    """Set the futures; without the engine's lock, because listeners may call the engine."""
    for future, outcome in told:
        if isinstance(outcome, ServeError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
