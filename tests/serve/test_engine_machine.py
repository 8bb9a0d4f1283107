"""Chunks in any order, doubled, lost, late; sessions opened, forked, closed; the engine stopped or killed in between.

Whatever comes, each session's outputs are those of a session alone that was given what the engine accepted.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.serve.scene import PATIENCE, Clock, assert_same, chunk, session_of, settle, step_alone
from tests.stream.conftest import model as make_model
from tests.stream.conftest import tokenizer as make_tokenizer
from tml_lab.serve import journal
from tml_lab.serve.catch_up import Rule
from tml_lab.serve.contract import Append, ChunkGapError, NoSessionError, Opened, Reply, ServeError
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

WHO = st.integers(0, 99)  # which of the open sessions, counted round
REPLIES, BRIDGE = 4, Rule().bridge


class Alone:
    """A session as it should be, and what it has answered."""

    def __init__(self, opened: Opened, session: Session, answers: list[TurnResult]) -> None:
        self.opened, self.session, self.answers = opened, session, answers

    def hear(self, given) -> TurnResult:
        self.answers.append(step_alone(self.session, given))
        return self.answers[-1]


class EngineMachine(RuleBasedStateMachine):
    """Steps of a class with its engine."""

    model, tokenizer = None, None  # set by the test below

    @initialize(keeps=st.booleans(), batch=st.integers(1, 3))
    def begin(self, keeps: bool, batch: int) -> None:
        self.keeps, self.root = keeps, Path(tempfile.mkdtemp())
        self.limits = Limits(batch=batch, snapshot=3, replies=REPLIES, shed=False, idle=None)
        self.runs = 0
        self.engine = self.start()
        self.alone: list[Alone] = []
        self.closed: list[Opened] = []
        self.speaker = 0

    def start(self) -> Engine:
        folder = self.root / f"run{self.runs}" if self.keeps else None
        return Engine(self.model, self.tokenizer, folder=folder, limits=self.limits, clock=Clock())

    def one(self, who: int) -> Alone:
        return self.alone[who % len(self.alone)]

    def send(self, who: Alone, *chunks) -> list[Reply]:
        futures = [self.engine.append(who.opened.id, who.opened.writer, each) for each in chunks]
        return [future.result(PATIENCE) for future in futures]

    @rule(seed=st.integers(0, 3))
    def open(self, seed: int) -> None:
        if len(self.alone) < 4:
            self.alone.append(Alone(self.engine.open(seed), Session(self.model, self.tokenizer, seed), []))

    @precondition(lambda self: self.alone)
    @rule(who=WHO, count=st.integers(1, 4))
    def say_next(self, who: int, count: int) -> None:
        one, self.speaker = self.one(who), self.speaker + 1
        first = len(one.answers)
        chunks = [chunk(n, self.speaker) for n in range(first, first + count)]
        futures = [self.engine.append(one.opened.id, one.opened.writer, each) for each in chunks]
        twice = self.engine.append(one.opened.id, one.opened.writer, chunks[0])
        for future, each in zip(futures, chunks, strict=True):
            assert_same(future.result(PATIENCE).turn, one.hear(each))
        if count <= REPLIES:
            assert twice.result(PATIENCE).turn.audio.tobytes() == one.answers[first].audio.tobytes()

    @precondition(lambda self: len(self.alone) > 1)
    @rule(count=st.integers(1, 3))
    def all_speak(self, count: int) -> None:
        self.speaker += 1
        sent = []
        for n in range(count):
            for one in self.alone:
                each = chunk(len(one.answers) + n, self.speaker)
                sent.append((one, each, self.engine.append(one.opened.id, one.opened.writer, each)))
        for one, each, future in sent:
            assert_same(future.result(PATIENCE).turn, one.hear(each))

    @precondition(lambda self: self.alone)
    @rule(who=WHO, back=st.integers(1, 8))
    def say_again(self, who: int, back: int) -> None:
        one = self.one(who)
        seq = len(one.answers) - back
        if seq < 0:
            return
        try:
            (reply,) = self.send(one, chunk(seq, 99))
        except ServeError as error:
            assert back > REPLIES and "no longer kept" in str(error)
        else:
            assert reply.again
            assert_same(reply.turn, one.answers[seq])

    @precondition(lambda self: self.alone)
    @rule(who=WHO, ahead=st.integers(1, 4), lost=st.integers(0, 4))
    def say_too_early(self, who: int, ahead: int, lost: int) -> None:
        one, self.speaker = self.one(who), self.speaker + 1
        expected = len(one.answers)
        each = chunk(expected + ahead, self.speaker, lost=min(lost, expected + ahead))
        if lost < ahead:
            try:
                self.engine.append(one.opened.id, one.opened.writer, each)
                raise AssertionError("a gap went unnoticed")
            except ChunkGapError as error:
                assert error.expected == expected
            return
        (reply,) = self.send(one, each)
        if ahead <= BRIDGE:
            for _ in range(ahead):
                one.hear(None)
        else:
            assert ahead <= len(reply.gaps) <= lost  # more when the turns before them were gaps, too
            for gap in reply.gaps[-ahead:]:
                assert_same(gap, one.hear(Append(gap.turn, None)))
        assert_same(reply.turn, one.hear(each))

    @precondition(lambda self: 0 < len(self.alone) < 4)
    @rule(who=WHO, part=st.none() | st.floats(0, 1))
    def fork(self, who: int, part: float | None) -> None:
        one = self.one(who)
        at = None if part is None else round(part * len(one.answers))
        twin = one.session.fork(at)
        opened = self.engine.fork(one.opened.id, at)
        assert opened.expected == twin.turn
        self.alone.append(Alone(opened, twin, one.answers[: twin.turn]))

    @precondition(lambda self: self.alone)
    @rule(who=WHO)
    def close(self, who: int) -> None:
        one = self.one(who)
        self.alone.remove(one)
        self.engine.close(one.opened.id, one.opened.writer)
        self.closed.append(one.opened)

    @precondition(lambda self: self.keeps)
    @rule()
    def stop_and_start(self) -> None:
        self.engine.stop()
        self.engine = self.start()

    @precondition(lambda self: self.keeps)
    @rule()
    def pull_the_plug(self) -> None:
        """What a new engine finds after kill -9 is what lies in the folder now."""
        old = self.root / f"run{self.runs}"
        self.runs += 1
        settle(self.engine)
        shutil.copytree(old, self.root / f"run{self.runs}", ignore_dangling_symlinks=True)
        self.engine.stop()
        self.engine = self.start()

    @invariant()
    def nobody_is_lost_and_nobody_comes_back(self) -> None:
        if not hasattr(self, "engine"):
            return
        for one in self.alone:
            info = self.engine.info(one.opened.id)
            assert info.expected == len(one.answers) and info.restored == ""
        for opened in self.closed[-2:]:
            try:
                self.engine.info(opened.id)
                raise AssertionError("a closed session came back")
            except NoSessionError:
                pass

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        for one in self.alone:
            assert session_of(self.engine, one.opened.id).turn == len(one.answers)
        self.engine.stop()
        shutil.rmtree(self.root)


class TestEngineMachine(EngineMachine.TestCase):  # type: ignore[name-defined]
    # shrinking a class of sessions takes minutes: the seed is fixed, and the steps are printed as they are
    settings = settings(max_examples=12, stateful_step_count=15, deadline=None, phases=[Phase.explicit, Phase.generate])

    @classmethod
    def teardown_class(cls) -> None:
        journal.SEGMENT = cls.segment

    @classmethod
    def setup_class(cls) -> None:
        EngineMachine.tokenizer = make_tokenizer._get_wrapped_function()()
        cls.segment, journal.SEGMENT = journal.SEGMENT, 40_000
        EngineMachine.model = make_model._get_wrapped_function()(EngineMachine.tokenizer)
