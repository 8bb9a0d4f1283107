"""Too much at once, in a world whose clock the turns move: who waits, who loses what, and who is not disturbed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.serve.scene import PATIENCE, Clock, Gate, chunk, pictures, session_of, sound
from tml_lab.config import TURN_SECONDS
from tml_lab.serve.contract import Append, BusyError, Opened, Reply, ServeError
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.serve.records import TurnIn
from tml_lab.serve.stats import Stats
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

SOUND = sound(0)


@dataclass
class Learner:
    """Sends a chunk every 0.2 s of the world's time, or as fast as chunks are taken; what is refused is sent again."""

    opened: Opened
    next_at: float
    flood: bool = False
    camera: bool = False
    seq: int = 0
    refused: int = 0
    replies: list[tuple[float, Reply]] = field(default_factory=list)  # seconds from sending to the reply

    @property
    def worst(self) -> float:
        return max(after for after, _ in self.replies)


class World:
    """Runs batches in no time, and lets the clock say that it took long; sends what is due meanwhile."""

    def __init__(self, cost: Callable[[TurnIn], float], until: float) -> None:
        self.clock, self.cost = Clock(), cost
        self.until = self.clock.now + until
        self.learners: list[Learner] = []
        self.over = threading.Event()
        self.engine: Engine | None = None
        self.after: Callable[[], None] = lambda: None  # called after each reply, where the engine may be called
        self.last: Stats | None = None  # when it was over

    def learner(self, **how) -> Learner:
        assert self.engine is not None
        at = self.clock.now + 0.03 * len(self.learners)
        self.learners.append(Learner(self.engine.open(seed=len(self.learners)), at, **how))
        return self.learners[-1]

    def __call__(self, sessions: Sequence[Session], inputs: Sequence[TurnIn]) -> list[TurnResult | ServeError]:
        results: list[TurnResult | ServeError] = []
        for session, given in zip(sessions, inputs, strict=True):  # nothing of the model is needed but its turns
            n = session.turn
            session.state["turn"] = session.state["turn"] + 1
            results.append(TurnResult(n, "<silent>", 0.0, "", (), SOUND, {"total": 0.0}))
            self.clock.pass_by(self.cost(given))
        self.send()
        waiting = self.engine.stats().waiting
        if waiting <= len(sessions) and not self.over.is_set():  # nobody else waits: the next chunk comes when it comes
            self.clock.now = max(self.clock.now, min(one.next_at for one in self.learners))
            self.send()
        return results

    def send(self) -> None:
        """What is due by now."""
        if self.clock.now > self.until:
            self.last = self.last or self.engine.stats()
            self.over.set()
            return
        for one in self.learners:
            while one.next_at <= self.clock.now and self._send(one):
                pass

    def _send(self, one: Learner) -> bool:
        sent_at = self.clock.now if one.flood else one.next_at
        frames = pictures(0) if one.camera else None
        try:
            future = self.engine.append(one.opened.id, one.opened.writer, Append(one.seq, SOUND, frames))
        except BusyError as error:
            assert (error.retry_after or 0) > 0
            one.refused += 1
            one.next_at = self.clock.now + (0.001 if one.flood else TURN_SECONDS)
            return False

        def replied(done: Future[Reply]) -> None:
            one.replies.append((self.clock.now - sent_at, done.result()))
            self.after()

        future.add_done_callback(replied)
        one.seq += 1
        one.next_at = self.clock.now if one.flood else one.next_at + TURN_SECONDS
        return True

    def run(self) -> None:
        with self.engine._changed:  # the first turn runs when all have sent
            self.send()
        assert self.over.wait(PATIENCE)


@pytest.fixture
def world(model, tokenizer):
    """`world(cost, until, **limits)`: a world and its engine, which ends with the test."""
    engines = []

    def make(cost: Callable[[TurnIn], float], until: float, **limits) -> World:
        world = World(cost, until)
        limits = {"idle": None, "drain": 0.0, "waiting": 10, "batch": 1, **limits}
        world.engine = Engine(model, tokenizer, limits=Limits(**limits), step_many=world, clock=world.clock)
        engines.append(world.engine)
        return world

    yield make
    for engine in engines:
        engine.stop()


def test_the_earliest_deadline_comes_first(model, tokenizer):
    clock, gate = Clock(), Gate()
    with Engine(model, tokenizer, step_many=gate, clock=clock, limits=Limits(shed=False, batch=1)) as engine:
        one, two, three = (engine.open(seed=n) for n in range(3))
        sessions = [session_of(engine, each.id) for each in (one, two, three)]
        futures = [engine.append(one.id, one.writer, chunk(n)) for n in range(5)]
        assert gate.inside.wait(PATIENCE)  # the first one's first turn is in work
        clock.pass_by(0.1)
        futures.append(engine.append(two.id, two.writer, chunk(0)))
        clock.pass_by(0.1)
        futures.append(engine.append(three.id, three.writer, chunk(0)))
        gate.open.set()
        for future in futures:
            future.result(PATIENCE)
        a, b, c = sessions
        # deadlines: 0.2, 0.36, 0.54, 0.72, 0.9 of the burst; 0.3; 0.4
        assert gate.order() == [a, b, a, c, a, a, a]


def test_a_batch_has_one_turn_of_a_session_and_not_more_than_it_may(model, tokenizer):
    gate = Gate()
    with Engine(model, tokenizer, step_many=gate, limits=Limits(batch=3, shed=False)) as engine:
        opened = [engine.open() for _ in range(5)]
        futures = [engine.append(each.id, each.writer, chunk(n)) for n in range(3) for each in opened]
        gate.open.set()
        for future in futures:
            future.result(PATIENCE)
    sizes = [len(batch) for batch in gate.batches]
    assert max(sizes) == 3 and sum(sizes) == 15 and len(sizes) <= 7
    for batch in gate.batches:
        assert len({id(session) for session, _ in batch}) == len(batch)


@pytest.mark.parametrize("batch", [1, 2])
def test_who_floods_gets_what_the_others_leave(world, batch):
    """Three learners in real time take 3 x 5 x 0.04 = 0.6 of the model; somebody sends as fast as he can."""
    here = world(lambda given: 0.04, until=20.0, batch=batch)
    learners = [here.learner() for _ in range(3)]
    flooder = here.learner(flood=True)
    here.run()
    for one in learners:
        assert one.worst <= TURN_SECONDS and one.refused == 0 and len(one.replies) >= 98
    assert flooder.refused > 0 and len(flooder.replies) >= 0.9 * 20 * 0.4 / 0.04


def test_pictures_go_first_and_that_is_enough(world):
    """With pictures the model would need 1.5 s for a second, without them 0.6."""
    here = world(lambda given: 0.04 if given.frames is None else 0.1, until=20.0)
    learners = [here.learner(camera=True) for _ in range(3)]
    here.run()
    since = here.last.since
    assert since.shed_pictures > 50 and since.missed > 0 and since.refused["busy"] == 0
    for one in learners:
        assert one.worst <= 3 * TURN_SECONDS and len(one.replies) >= 95
        shed = [reply.shed for _, reply in one.replies]
        assert any(shed) and not all(shed)


def test_when_nothing_helps_all_wait_alike_and_nobody_new_comes(world):
    """The model needs 1.5 s for a second: each gets two thirds of the turns, is told so, and nobody is stalled."""
    here = world(lambda given: 0.1, until=20.0)
    learners = [here.learner() for _ in range(3)]
    refused = []

    def one_more() -> None:
        try:
            here.engine.open()
        except BusyError as error:
            refused.append((here.clock.now, error))

    here.after = lambda: one_more() if not refused and here.clock.now > here.until - 10 else None
    here.run()
    turns = [len(one.replies) for one in learners]
    assert max(turns) - min(turns) <= 2 and sum(turns) >= 0.95 * 20 / 0.1
    assert all(one.refused > 0 for one in learners)
    assert max(one.worst for one in learners) <= (10 + 2) * 3 * 0.1  # no more wait than may
    assert "late" in str(refused[0][1]) and refused[0][1].retry_after > 0
    assert here.last.since.missed > 100 and here.last.late > TURN_SECONDS


def test_when_it_is_over_sessions_are_opened_again(model, tokenizer):
    clock = Clock()
    gate = Gate(clock, seconds=1.0)
    gate.open.set()
    with Engine(model, tokenizer, step_many=gate, clock=clock) as engine:
        opened = engine.open()
        engine.append(opened.id, opened.writer, chunk(0)).result(PATIENCE)  # 0.8 s too late
        session_of(engine, opened.id)
        for call in (engine.open, lambda: engine.fork(opened.id)):
            with pytest.raises(BusyError, match="late") as refused:
                call()
        clock.pass_by(refused.value.retry_after)
        engine.open()
        engine.fork(opened.id)


def test_forks_into_the_past_run_beside_the_others(world):
    """Turns that are run again take a live session's share, and what is left over."""
    here = world(lambda given: 0.04, until=12.0)
    learners = [here.learner() for _ in range(3)]
    teacher = here.learner()
    twin = here.engine._builder.session(0, None, None)
    forks: list[tuple[float, Opened]] = []
    done: list[float] = []

    def fork_once() -> None:
        if not forks and here.clock.now > here.until - 8:
            live = here.engine._lives[teacher.opened.id]
            forks.append((here.clock.now, engine_with_past(here.engine, live, twin, 40)))
        if forks and not done and not here.engine._lives[forks[0][1].id].behind:
            done.append(here.clock.now)

    here.after = fork_once
    here.run()
    assert all(one.worst <= TURN_SECONDS for one in [*learners, teacher])
    seconds = done[0] - forks[0][0]
    assert 40 * 0.04 / (1 - 0.8) * 0.8 <= seconds <= 40 * TURN_SECONDS + 0.5
    assert here.engine.stats().since.replayed == 40


def engine_with_past(engine: Engine, live, session: Session, turns: int) -> Opened:
    """A fork whose turns have still to be run again; the world keeps no tape, from which the engine could make one."""
    past = TurnIn(SOUND)
    made = type(live)("f" * 16, live.key, session, live.limits, engine._clock(), None, turns, lambda turn: past)
    engine._enter(made)
    return Opened(made.id, "", turns)


def test_a_long_gap_takes_no_more_than_its_share(world):
    """Somebody's lid was closed for 30 s: 150 gap turns run beside the others, who notice nothing."""
    here = world(lambda given: 0.04, until=45.0)
    learners = [here.learner() for _ in range(3)]
    opened = here.engine.open()
    back: list[float] = []
    begun: list[float] = []

    def come_back() -> None:
        if not begun and here.clock.now > here.until - 43:
            begun.append(here.clock.now)
            future = here.engine.append(opened.id, opened.writer, Append(150, np.zeros(3200, np.float32), lost=150))
            future.add_done_callback(lambda done: back.append(here.clock.now))

    here.after = come_back
    here.run()
    assert all(one.worst <= TURN_SECONDS for one in learners)
    assert 150 * 0.04 < back[0] - begun[0] <= 150 * TURN_SECONDS
    assert here.engine.stats().since.gaps == 150
