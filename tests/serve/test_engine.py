"""The engine's calls: order, doubles, gaps, keys, forks, caps; each session as if it were alone."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from tests.serve.scene import (
    PATIENCE,
    Clock,
    Gate,
    assert_same,
    assert_same_state,
    chunk,
    pictures,
    session_of,
    sound,
    step_alone,
)
from tml_lab.serve.catch_up import Rule
from tml_lab.serve.contract import (
    Append,
    BadChunkError,
    BusyError,
    ChunkGapError,
    NoSessionError,
    NotAllowedError,
    Opened,
    Reply,
    ServeError,
    TooLongError,
)
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.serve.step_many import StepFailedError, StepTogether
from tml_lab.stream.recording import SKIPPED
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session


@pytest.fixture(params=["memory", "folder"])
def folder(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "sessions"


@pytest.fixture
def engine(model, tokenizer, folder):
    with Engine(model, tokenizer, folder=folder, limits=Limits(batch=3, snapshot=5, shed=False)) as engine:
        yield engine


def say(engine: Engine, opened: Opened, *chunks: Append) -> list[Reply]:
    futures = [engine.append(opened.id, opened.writer, each) for each in chunks]
    return [future.result(PATIENCE) for future in futures]


def test_many_sessions_at_once_are_each_as_if_alone(engine, model, tokenizer):
    opened = [engine.open(seed=who) for who in range(4)]
    futures: list[list[Future[Reply]]] = [[] for _ in opened]
    for n in range(12):
        for who, each in enumerate(opened):
            futures[who].append(engine.append(each.id, each.writer, chunk(n, who)))
    for who, each in enumerate(opened):
        alone = Session(model, tokenizer, seed=who)
        for n, future in enumerate(futures[who]):
            reply = future.result(PATIENCE)
            assert (reply.seq, reply.again, reply.gaps) == (n, False, ())
            assert_same(reply.turn, step_alone(alone, chunk(n, who)))
        assert_same_state(session_of(engine, each.id), alone)
        assert differences(engine.recording(each.id), alone.recording()) == []
    stats = engine.stats()
    assert (stats.since.turns, stats.sessions, stats.waiting, stats.since.opened) == (48, 4, 0, 4)
    assert stats.since.reply.count == 48 and stats.since.step.count >= 16


def test_a_recording_holds_what_went_in_and_replays(engine, model, tokenizer):
    opened = engine.open(seed=7, attention=(2, 1))
    say(engine, opened, *(chunk(n) for n in range(9)))
    recording = engine.recording(opened.id)
    assert recording.inputs.typed == ((3, "remind me in two seconds"),)
    assert np.array_equal(recording.inputs.frames[5], pictures(5)) and recording.inputs.frames[4] is None
    assert np.array_equal(recording.inputs.audio[-3200:], sound(8))
    assert recording.attention.layer == 2 and recording.attention.share.sum() == pytest.approx(9, abs=1e-3)
    assert differences(replay(recording, model, tokenizer), recording) == []


def test_an_older_chunk_gets_the_reply_it_got_and_nothing_runs_twice(engine):
    opened = engine.open()
    first = say(engine, opened, *(chunk(n) for n in range(3)))
    again = say(engine, opened, chunk(1, who=9), chunk(2))  # whatever it now says
    assert [reply.again for reply in again] == [True, True]
    assert again[0].turn is first[1].turn and again[1].turn is first[2].turn
    assert engine.info(opened.id).turns == 3 and engine.stats().since.again == 2


def test_a_chunk_that_waits_and_comes_again_is_one_chunk(model, tokenizer):
    gate = Gate()
    with Engine(model, tokenizer, step_many=gate, limits=Limits(shed=False)) as engine:
        opened = engine.open()
        one = engine.append(opened.id, opened.writer, chunk(0))
        assert engine.append(opened.id, opened.writer, chunk(0)) is one
        assert not one.cancel()  # what was accepted is run, whoever still listens
        gate.open.set()
        assert one.result(PATIENCE).turn.turn == 0
        assert engine.info(opened.id).turns == 1


def test_a_chunk_that_comes_again_between_its_turn_and_its_reply(model, tokenizer):
    steps, again = StepTogether(), []

    def step_many(sessions, inputs):
        results = steps(sessions, inputs)
        again.append(engine.append(opened.id, opened.writer, chunk(len(again))))
        return results

    with Engine(model, tokenizer, step_many=step_many, limits=Limits(replies=1)) as engine:
        opened = engine.open()
        for n in range(3):
            first = engine.append(opened.id, opened.writer, chunk(n))
            assert first.result(PATIENCE).seq == n
            assert again[n] is first


def test_a_later_chunk_is_refused_until_the_gap_is_explained(engine, model, tokenizer):
    opened, alone = engine.open(seed=2), Session(model, tokenizer, seed=2)
    say(engine, opened, chunk(0))
    step_alone(alone, chunk(0))
    with pytest.raises(ChunkGapError, match="chunk 1 is expected") as refused:
        engine.append(opened.id, opened.writer, chunk(4, lost=2))
    assert refused.value.expected == 1
    (reply,) = say(engine, opened, chunk(4, lost=3))
    for gap in reply.gaps:
        assert_same(gap, alone.step(None))
    assert [gap.turn for gap in reply.gaps] == [1, 2, 3]
    assert_same(reply.turn, step_alone(alone, chunk(4)))
    late, again = say(engine, opened, chunk(2), chunk(4, lost=3))
    assert late.again and late.turn is reply.gaps[1]  # it came too late: the turn it would have had was a gap
    assert again.again and again.gaps == reply.gaps
    (reply,) = say(engine, opened, chunk(7, lost=2))  # two are bridged: what was heard before them joins on
    assert reply.gaps == () and reply.turn.turn == 7
    for _ in range(2):
        alone.step(SKIPPED)
    assert_same(reply.turn, step_alone(alone, chunk(7)))
    recording = engine.recording(opened.id)
    assert recording.gaps == (1, 2, 3, 5, 6) and recording.inputs.skipped == (5, 6)
    assert differences(recording, alone.recording()) == []
    assert engine.stats().since.gaps == 5


def test_of_a_long_gap_only_the_end_is_run(model, tokenizer, folder):
    """As in the live widget: `catch_up.Rule.most` gap turns, in which it can act; what is before them is skipped."""
    with Engine(model, tokenizer, folder=folder, limits=Limits(shed=False, snapshot=40)) as engine:
        opened, alone = engine.open(seed=2), Session(model, tokenizer, seed=2)
        (reply,) = say(engine, opened, chunk(400, lost=400))
        assert [gap.turn for gap in reply.gaps] == list(range(400 - Rule().most, 400))
        alone.skip(400 - Rule().most)
        for gap in reply.gaps:
            assert_same(gap, alone.step(None))
        assert_same(reply.turn, step_alone(alone, chunk(400)))
        assert_same_state(session_of(engine, opened.id), alone)


def test_what_is_missing_is_what_is_lost_at_most(engine):
    opened = engine.open()
    say(engine, opened, chunk(0), chunk(1))
    (reply,) = say(engine, opened, chunk(2, lost=2))  # the sender thought that 0 and 1 were lost
    assert reply.gaps == () and reply.turn.turn == 2


def test_a_reply_that_is_no_longer_kept(model, tokenizer):
    with Engine(model, tokenizer, limits=Limits(replies=3)) as engine:
        opened = engine.open()
        say(engine, opened, *(chunk(n) for n in range(6)))
        assert say(engine, opened, chunk(3))[0].again
        with pytest.raises(ServeError, match=r"no longer kept.* go on with chunk 6") as refused:
            engine.append(opened.id, opened.writer, chunk(2))
        assert refused.value.expected == 6


def test_one_writer_and_no_other(engine):
    opened, other = engine.open(), engine.open()
    for key in (other.writer, "", opened.writer[:-1], "\ud800", opened.writer + " "):
        with pytest.raises(NotAllowedError):
            engine.append(opened.id, key, chunk(0))
        with pytest.raises(NotAllowedError):
            engine.watch(opened.id, key, None)
        with pytest.raises(NotAllowedError):
            engine.close(opened.id, key)
    with pytest.raises(NoSessionError):
        engine.append("nobody", opened.writer, chunk(0))
    assert engine.stats().since.refused["not_allowed"] == 10  # closing is not counted


BAD = [
    (replace(chunk(0), audio=np.zeros(100, np.float32)), "100"),
    (replace(chunk(0), audio=np.zeros(3200, np.int16)), "int16"),
    (replace(chunk(0), audio=np.full(3200, np.nan, np.float32)), "nan"),
    (replace(chunk(0), audio=b"sound"), "bytes"),
    (replace(chunk(0), frames=np.zeros((2, 8, 8), np.uint8)), "two frames|\\[2, H, W, 3\\]"),
    (replace(chunk(0), frames=np.zeros((2, 4000, 4000, 3), np.uint8)), "too large"),
    (replace(chunk(0), frames=np.zeros((2, 40, 40, 3), np.float32)), "uint8"),
    (replace(chunk(0), frames="picture"), "str"),
    (replace(chunk(0), text="x" * 5000), "5000 characters"),
    (replace(chunk(0), text=3), "string"),
    (replace(chunk(0), text="half \ud800"), "half of one"),
    (replace(chunk(0), seq=-1), "between 0"),
    (replace(chunk(0), seq=True), "whole number"),
    (replace(chunk(0), seq=1.0), "whole number"),
    (replace(chunk(0), seq=10**9), "between 0"),
    (replace(chunk(0), lost=1), "between 0 and 0"),
    (replace(chunk(5), lost="one"), "whole number"),
]


@pytest.mark.parametrize(("bad", "says"), BAD)
def test_a_bad_chunk_is_one_sentence_and_changes_nothing(engine, model, tokenizer, bad, says):
    opened = engine.open(seed=1)
    with pytest.raises(BadChunkError, match=says) as refused:
        engine.append(opened.id, opened.writer, bad)
    assert "\n" not in str(refused.value)
    (reply,) = say(engine, opened, chunk(0))
    assert_same(reply.turn, step_alone(Session(model, tokenizer, seed=1), chunk(0)))


def test_the_sender_may_use_its_buffers_again(model, tokenizer):
    gate = Gate()
    with Engine(model, tokenizer, step_many=gate, limits=Limits(shed=False)) as engine:
        opened = engine.open()
        audio, frames = sound(0).copy(), pictures(0)
        future = engine.append(opened.id, opened.writer, Append(0, audio, frames))
        audio[:], frames[:] = 0, 0
        gate.open.set()
        expected = Session(model, tokenizer).step(sound(0), pictures(0))
        assert_same(future.result(PATIENCE).turn, expected)


@pytest.mark.parametrize("at", [None, 12, 0, 5, 7, 1.45])
def test_a_fork_has_the_same_past_and_its_own_future(engine, model, tokenizer, at):
    opened, alone = engine.open(seed=4), Session(model, tokenizer, seed=4)
    for n in range(12):
        say(engine, opened, chunk(n))
        step_alone(alone, chunk(n))
    twin = alone.fork(at)
    fork = engine.fork(opened.id, at)
    assert fork.writer != opened.writer and fork.expected == twin.turn
    for n in range(twin.turn, twin.turn + 4):
        (reply,) = say(engine, fork, chunk(n, who=5))
        assert_same(reply.turn, step_alone(twin, chunk(n, who=5)))
    (reply,) = say(engine, opened, chunk(12))
    assert_same(reply.turn, step_alone(alone, chunk(12)))
    assert_same_state(session_of(engine, fork.id), twin)
    assert_same_state(session_of(engine, opened.id), alone)
    assert differences(engine.recording(fork.id), twin.recording()) == []
    engine.close(opened.id, opened.writer)
    assert differences(engine.recording(fork.id), twin.recording()) == []  # nothing of it went with the other
    grandchild = engine.fork(fork.id, at=2) if twin.turn > 2 else engine.fork(fork.id)
    (reply,) = say(engine, grandchild, chunk(grandchild.expected))
    assert_same(reply.turn, step_alone(twin.fork(grandchild.expected), chunk(grandchild.expected)))


@pytest.mark.parametrize("at", [4, -1, 99.0, float("nan"), float("inf"), "soon", -3.0])
def test_an_impossible_fork_is_one_sentence(engine, at):
    opened = engine.open()
    say(engine, opened, chunk(0), chunk(1), chunk(2))
    with pytest.raises(ServeError, match="fork"):
        engine.fork(opened.id, at)
    assert engine.stats().sessions == 1
    say(engine, opened, chunk(3))


def test_the_watched_head_comes_with_the_replies(engine):
    opened = engine.open()
    (reply,) = say(engine, opened, chunk(0))
    assert reply.turn.attention is None
    engine.watch(opened.id, opened.writer, (1, 0))
    (reply,) = say(engine, opened, chunk(1))
    assert sum(weights.sum() for weights in reply.turn.attention.values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ServeError, match="no layer 77"):
        engine.watch(opened.id, opened.writer, (77, 0))
    with pytest.raises(ServeError, match="no layer 77"):
        engine.open(attention=(77, 0))
    with pytest.raises(ServeError):
        engine.open(seed="three")
    assert engine.stats().sessions == 1


def test_closing_frees_the_place_and_closing_twice_is_no_error(model, tokenizer, folder):
    with Engine(model, tokenizer, folder=folder, limits=Limits(sessions=2)) as engine:
        one, two = engine.open(), engine.open()
        with pytest.raises(BusyError, match="2 sessions") as refused:
            engine.open()
        assert (refused.value.retry_after or 0) > 0
        with pytest.raises(BusyError):
            engine.fork(one.id)
        engine.close(one.id, one.writer)
        engine.close(one.id, one.writer)
        with pytest.raises(NotAllowedError):
            engine.close(two.id, one.writer)
        with pytest.raises(NoSessionError, match="closed"):
            engine.append(one.id, one.writer, chunk(0))
        with pytest.raises(NoSessionError):
            engine.close("nobody", one.writer)
        say(engine, engine.open(), chunk(0))
        assert folder is None or len([path for path in folder.iterdir() if path.is_dir()]) == 2


def test_a_session_that_is_closed_tells_those_who_wait(model, tokenizer):
    gate = Gate()
    with Engine(model, tokenizer, step_many=gate, limits=Limits(shed=False)) as engine:
        opened = engine.open()
        futures = [engine.append(opened.id, opened.writer, chunk(n)) for n in range(3)]
        assert gate.inside.wait(PATIENCE)
        futures[0].add_done_callback(lambda _: engine.close(opened.id, opened.writer))  # from the engine's own thread
        gate.open.set()
        assert futures[0].result(PATIENCE).seq == 0
        for future in futures[1:]:
            assert isinstance(future.exception(PATIENCE), NoSessionError)


def test_an_idle_session_is_closed_and_says_so(model, tokenizer, folder):
    clock = Clock()
    with Engine(model, tokenizer, folder=folder, limits=Limits(idle=60.0), clock=clock) as engine:
        idle, busy = engine.open(), engine.open()
        clock.pass_by(50)
        say(engine, busy, chunk(0))
        clock.pass_by(20)
        assert engine.info(idle.id).idle == 70 and engine.info(busy.id).idle == 20
        engine.sweep()
        with pytest.raises(NoSessionError, match="no chunk came"):
            engine.info(idle.id)
        say(engine, busy, chunk(1))
        assert engine.stats().since.idled == 1


def test_caps_of_one_session(model, tokenizer, folder):
    limits = Limits(seconds=0.6, waiting=2)
    gate = Gate()
    with Engine(model, tokenizer, folder=folder, limits=limits, step_many=gate) as engine:
        opened = engine.open()
        first = [engine.append(opened.id, opened.writer, chunk(n)) for n in range(2)]
        with pytest.raises(BusyError, match="chunk 2 again") as refused:
            engine.append(opened.id, opened.writer, chunk(2))
        assert (refused.value.retry_after or 0) >= 0.2
        gate.open.set()
        assert [future.result(PATIENCE).seq for future in first] == [0, 1]
        say(engine, opened, chunk(2))
        with pytest.raises(TooLongError, match=r"0\.6 s"):
            engine.append(opened.id, opened.writer, chunk(3))
        assert engine.recording(opened.id).turns == 3
    with Engine(model, tokenizer, limits=Limits(kept=60_000)) as engine:
        opened = engine.open()
        say(engine, opened, *(Append(n, sound(n)) for n in range(3)))
        with pytest.raises(TooLongError, match="76,800 bytes"):
            engine.append(opened.id, opened.writer, chunk(3))


def test_the_cap_on_memory(model, tokenizer):
    with Engine(model, tokenizer, limits=Limits(memory=500_000)) as engine:
        opened = engine.open()
        say(engine, opened, *(chunk(n) for n in range(20)))
        engine.sweep()
        with pytest.raises(BusyError, match="bytes"):
            engine.append(opened.id, opened.writer, chunk(20))
        with pytest.raises(BusyError, match="bytes"):
            engine.open()
        assert say(engine, opened, chunk(19))[0].again
        engine.close(opened.id, opened.writer)
        engine.open()


@pytest.mark.parametrize("spoil", [False, True])
def test_a_turn_that_fails_is_as_if_it_had_not_come(model, tokenizer, folder, spoil):
    gate = Gate()
    gate.open.set()
    with Engine(model, tokenizer, folder=folder, step_many=gate, limits=Limits(snapshot=4, shed=False)) as engine:
        opened, alone = engine.open(seed=3), Session(model, tokenizer, seed=3)
        for n in range(6):
            say(engine, opened, chunk(n))
            step_alone(alone, chunk(n))
        gate.open.clear()
        gate.inside.clear()
        gate.fail, gate.spoil = [StepFailedError("out of memory.") if spoil else BadChunkError("no.")], spoil
        one, two = (engine.append(opened.id, opened.writer, chunk(n)) for n in (6, 7))
        gate.open.set()
        assert type(one.exception(PATIENCE)) is (StepFailedError if spoil else BadChunkError)
        behind = two.exception(PATIENCE)
        assert isinstance(behind, ChunkGapError) and behind.expected == 6
        for n in (6, 7):
            (reply,) = say(engine, opened, chunk(n))
            assert_same(reply.turn, step_alone(alone, chunk(n)))
        assert_same_state(session_of(engine, opened.id), alone)
        assert differences(engine.recording(opened.id), alone.recording()) == []


def test_a_model_that_goes_on_failing_ends_that_session_alone(model, tokenizer, folder):
    gate = Gate()
    gate.open.set()
    with Engine(model, tokenizer, folder=folder, step_many=gate) as engine:
        opened, other = engine.open(), engine.open()
        gate.fail, gate.spoil = [StepFailedError("no.")] * 4, True
        for _ in range(4):
            assert isinstance(engine.append(opened.id, opened.writer, chunk(0)).exception(PATIENCE), ServeError)
        with pytest.raises(ServeError, match="cannot go on"):
            engine.append(opened.id, opened.writer, chunk(0))
        say(engine, other, chunk(0))
        engine.close(opened.id, opened.writer)


def test_a_batch_that_goes_wrong_as_a_whole_leaves_the_engine_running(model, tokenizer):
    calls = []

    def broken_once(sessions, inputs):
        calls.append(len(sessions))
        if len(calls) == 1:
            raise RuntimeError("no such kernel")
        return [session.step(given.heard) for session, given in zip(sessions, inputs, strict=True)]

    with Engine(model, tokenizer, step_many=broken_once) as engine:
        one, two = engine.open(), engine.open()
        assert isinstance(engine.append(one.id, one.writer, chunk(0)).exception(PATIENCE), ServeError)
        say(engine, two, chunk(0))


def test_after_the_end_every_call_is_one_sentence(model, tokenizer, folder):
    engine = Engine(model, tokenizer, folder=folder)
    opened = engine.open()
    say(engine, opened, chunk(0))
    engine.stop()
    engine.stop()
    say_more = lambda: engine.append(opened.id, opened.writer, chunk(1))  # noqa: E731
    for call in (engine.open, lambda: engine.fork(opened.id), say_more):
        with pytest.raises(BusyError, match="going down"):
            call()
