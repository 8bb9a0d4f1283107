"""A handle is used like a session; what is lost on the way is asked for again, and nothing runs twice."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest

from tests.serve.scene import assert_same, chunk, pictures, sound
from tml_lab.serve.contract import (
    BusyError,
    ChunkGapError,
    NoSessionError,
    NotAllowedError,
    Opened,
    ServeError,
)
from tml_lab.serve.engine import Engine
from tml_lab.serve.handle import Handle
from tml_lab.serve.limits import Limits
from tml_lab.stream.recording import SKIPPED
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session


@pytest.fixture
def engine(model, tokenizer):
    with Engine(model, tokenizer, limits=Limits(shed=False)) as engine:
        yield engine


class Wire:
    """An engine behind a wire on which things go wrong, as `faults` says: an error instead of the call, or after it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.sent: list[tuple[int, int]] = []  # (chunk number, lost)

    def append(self, id, writer, chunk):
        self.sent.append((chunk.seq, chunk.lost))
        if self.before and (error := self.before.pop(0)) is not None:
            raise error
        future = self.engine.append(id, writer, chunk)
        if self.after and (error := self.after.pop(0)) is not None:
            future.result()
            broken: Future = Future()
            broken.set_exception(error)
            return broken
        return future

    def __getattr__(self, name):
        return getattr(self.engine, name)


def test_a_handle_is_used_like_a_session(engine, model, tokenizer):
    alone = Session(model, tokenizer, seed=3, attention=(2, 0))
    with Handle.open(engine, seed=3, attention=(2, 0)) as session:
        for n in range(6):
            result = session.step(sound(n), pictures(n) if n == 1 else None, "remind me" if n == 2 else None)
            expected = alone.step(sound(n), pictures(n) if n == 1 else None, "remind me" if n == 2 else None)
            assert_same(result, expected)
            assert session.turn == alone.turn and session.last.model > 0
            assert result.attention.keys() == expected.attention.keys()
        session.attention = alone.attention = None
        assert session.attention is None
        assert session.step(None).attention is None  # nothing was heard
        alone.step(None)
        assert differences(session.recording(), alone.recording()) == []
        for at in (None, 3, 0.7):
            twin, other = session.fork(at), alone.fork(at)
            assert twin.turn == other.turn
            assert_same(twin.step(sound(9)), other.step(sound(9)))
        with pytest.raises(ServeError, match="no layer"):
            session.attention = (9, 0)
        assert session.attention is None
    session.close()
    with pytest.raises(NoSessionError):
        session.step(sound(0))


def test_lost_calls_and_lost_replies(engine, model, tokenizer):
    wire, waits = Wire(engine), []
    wire.before = [ConnectionError("gone"), None, TimeoutError(), None, None]
    wire.after = [ConnectionError("gone"), TimeoutError(), None]
    session = Handle(wire, engine.open(seed=1), sleep=waits.append)
    alone = Session(model, tokenizer, seed=1)
    for n in range(3):
        assert_same(session.step(sound(n)), alone.step(sound(n)))
    assert wire.sent == [(0, 0)] * 4 + [(0, 0)] + [(1, 0), (2, 0)]
    assert len(waits) == 4 and engine.stats().since.turns == 3 and engine.stats().since.again == 2


def test_a_busy_server_is_asked_again_when_it_says(engine):
    wire, waits = Wire(engine), []
    wire.before = [BusyError("later.", retry_after=1.5), BusyError("later.")]
    session = Handle(wire, engine.open(), sleep=waits.append)
    assert session.step(sound(0)).turn == 0
    assert waits == [1.5, 0.2]
    wire.before = [BusyError("much later.", retry_after=1000.0)]
    with pytest.raises(BusyError, match="much later"):
        session.step(sound(1))
    assert session.step(sound(1)).turn == 1


def test_patience_ends(engine):
    wire = Wire(engine)
    wire.before = [ConnectionError("gone")] * 3
    session = Handle(wire, engine.open(), patience=0.0)
    with pytest.raises(ConnectionError):
        session.step(sound(0))
    assert session.turn == 0


def test_turns_that_the_server_lost_become_gaps(engine, model, tokenizer):
    """As after a restart with a damaged journal: the writer is three turns ahead."""
    opened = engine.open(seed=1)
    session = Handle(engine, Opened(opened.id, opened.writer, expected=3), sleep=lambda seconds: None)
    alone = Session(model, tokenizer, seed=1)
    for _ in range(3):
        alone.step(None)
    assert_same(session.step(sound(3)), alone.step(sound(3)))
    assert [gap.turn for gap in session.last.gaps] == [0, 1, 2]


def test_what_is_wrong_is_not_tried_again(engine):
    wire = Wire(engine)
    session = Handle(wire, Opened(engine.open().id, "not the key"))
    with pytest.raises(NotAllowedError):
        session.step(sound(0))
    session = Handle(wire, engine.open())
    with pytest.raises(ServeError, match="float32"):
        session.step(np.zeros(3200, np.int16))
    wire.before = [ChunkGapError("odd.")]
    with pytest.raises(ChunkGapError):
        session.step(sound(0))
    assert len(wire.sent) == 3 and session.turn == 0
    assert session.step(chunk(0).audio).turn == 0


def test_a_turn_that_is_skipped_is_one_whose_chunk_never_comes(engine):
    """The live widget skips turns when it is behind; on a server the next chunk says how many were lost."""
    wire = Wire(engine)
    session = Handle(wire, engine.open())
    session.step(chunk(0).audio)
    for n in range(3):
        skipped = session.step(SKIPPED)
        assert (skipped.turn, skipped.decision, skipped.audio.any()) == (1 + n, "<silent>", False)
    wire.before = [None, ConnectionError("the reply was lost")]
    assert session.step(chunk(4).audio).turn == 4
    assert session.step(chunk(5).audio).turn == 5
    assert wire.sent == [(0, 0), (4, 3), (5, 0), (5, 0)]
    assert session.turn == 6 == session.recording().turns
    assert sorted(session.recording().gaps) + sorted(session.recording().inputs.skipped) == [1, 2, 3]
