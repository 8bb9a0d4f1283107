"""What comes back after a stop, SIGTERM, kill -9, and from damaged files: the same bits, or one sentence."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.classroom import LEARNERS, LIMITS, mark, tiny
from tests.serve.scene import (
    PATIENCE,
    Gate,
    assert_same,
    assert_same_state,
    chunk,
    session_of,
    settle,
    step_alone,
)
from tml_lab.model.checkpoint import new_model
from tml_lab.serve import journal as journal_module
from tml_lab.serve import store as store_module
from tml_lab.serve.contract import Append, BusyError, NoSessionError, Opened, Reply, ServeError
from tml_lab.serve.engine import Engine
from tml_lab.serve.json_lines import start_log, stop_log
from tml_lab.serve.limits import Limits
from tml_lab.stream.compact import Compact, Rule
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session

ROOT = Path(__file__).parents[2]


def say(engine: Engine, opened: Opened, *chunks: Append) -> list[Reply]:
    futures = [engine.append(opened.id, opened.writer, each) for each in chunks]
    return [future.result(PATIENCE) for future in futures]


def alone(model, tokenizer, turns: int, seed: int = 0, who: int = 0) -> tuple[Session, list]:
    session = Session(model, tokenizer, seed=seed)
    return session, [step_alone(session, chunk(n, who)) for n in range(turns)]


@pytest.fixture
def engines(model, tokenizer, tmp_path):
    """`engines(name)` starts one on a folder; all are stopped at the end."""
    started: list[Engine] = []

    def start(name: str = "sessions", **how) -> Engine:
        how = {"limits": Limits(snapshot=4, shed=False), **how}
        started.append(Engine(model, tokenizer, folder=tmp_path / name, **how))
        return started[-1]

    yield start
    for engine in started:
        engine.stop()


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("turns", [0, 1, 8, 10])
def test_a_session_goes_on_as_if_nothing_had_been(engines, model, tokenizer, tmp_path, how, turns):
    one, twin = engines(), Session(model, tokenizer, seed=3)
    opened = one.open(seed=3, attention=(2, 0))
    sent = [chunk(n) for n in range(turns)]
    if turns > 7:  # three gaps, and two turns that are skipped
        sent = [chunk(3, lost=3), chunk(4), chunk(7, lost=2), *sent[8:]]
    for each in sent:
        (reply,) = say(one, opened, each)
        settle(one)  # or a snapshot is left out, while the one before it is still being written
        for gap in reply.gaps:
            assert_same(gap, twin.step(None))
        if reply.seq == 7:
            twin.skip(2)
        assert_same(reply.turn, step_alone(twin, chunk(reply.seq)))
    if how == "stopped":
        one.stop()
    else:
        settle(one)
        shutil.copytree(tmp_path / "sessions", tmp_path / "found")
    other = engines("sessions" if how == "stopped" else "found")
    info = other.info(opened.id)
    assert (info.expected, info.restored) == (turns, "")
    assert_same_state(session_of(other, opened.id), twin)
    assert other.stats().since.replayed == (0 if how == "stopped" else turns % 4)
    assert differences(other.recording(opened.id), twin.recording()) == []
    if turns:
        assert other.recording(opened.id).attention.share.sum() == pytest.approx(turns - 2 * (turns > 7), abs=1e-2)
        (again,) = say(other, opened, sent[-1])
        assert again.again and again.gaps == () and again.turn.turn == turns - 1 and again.turn.attention is not None
    if turns > 1:
        (again,) = say(other, opened, sent[0])
        assert [gap.turn for gap in again.gaps] == ([0, 1, 2] if sent[0].lost else [])
    (reply,) = say(other, opened, chunk(turns))
    assert reply.turn.attention is not None
    assert_same(reply.turn, step_alone(twin, chunk(turns)))
    assert other.fork(opened.id, at=turns // 2).expected == turns // 2


def test_a_session_that_takes_notes_goes_on_with_them(engines, model, tokenizer):
    told = Rule("standing", "remind", ("remind me in two seconds",))  # typed in chunk 3
    policy = Compact(rules=(told,), standing_every=24)
    one, twin = engines(policy=policy), Session(model, tokenizer, seed=3, policy=policy)
    opened = one.open(seed=3)
    for n in range(10):
        (reply,) = say(one, opened, chunk(n))
        assert_same(reply.turn, step_alone(twin, chunk(n)))
        settle(one)
    one.stop()
    other = engines()  # by another policy, which is for new sessions
    assert_same_state(session_of(other, opened.id), twin)
    notes = []
    for n in range(10, 30):
        (reply,) = say(other, opened, chunk(n))
        own = step_alone(twin, chunk(n))
        assert_same(reply.turn, own)
        notes += [(n, own.note)] if own.note else []
    recording = other.recording(opened.id)
    assert notes and recording.notes == twin.recording().notes and set(notes) <= set(recording.notes)
    assert differences(recording, twin.recording()) == []
    assert differences(replay(recording, model, tokenizer), recording) == []


def test_two_engines_do_not_share_a_folder(engines):
    engines()
    with pytest.raises(ServeError, match="another engine"):
        engines()


def test_a_session_of_other_weights_stays_where_it_is(engines, model, tokenizer, tmp_path):
    one = engines()
    opened = one.open()
    say(one, opened, chunk(0))
    one.stop()
    stranger = new_model("pico", tokenizer, seed=9).eval()
    with Engine(stranger, tokenizer, folder=tmp_path / "sessions") as other:
        with pytest.raises(NoSessionError, match="other weights") as refused:
            other.info(opened.id)
        assert "\n" not in str(refused.value) and list(other.unrestored) == [opened.id]
        say(other, other.open(), chunk(0))
    assert engines().info(opened.id).turns == 1


def test_what_waits_at_the_end_is_run_or_told(model, tokenizer, tmp_path):
    gate = Gate()
    engine = Engine(model, tokenizer, folder=tmp_path, step_many=gate, limits=Limits(drain=60.0, shed=False))
    opened = engine.open(seed=1)
    futures = [engine.append(opened.id, opened.writer, chunk(n)) for n in range(5)]
    assert gate.inside.wait(PATIENCE)
    gate.open.set()
    engine.stop()
    _, expected = alone(model, tokenizer, 5, seed=1)
    for future, turn in zip(futures, expected, strict=True):
        assert_same(future.result(0).turn, turn)

    gate = Gate()
    engine = Engine(model, tokenizer, folder=tmp_path, step_many=gate, limits=Limits(drain=0.0, shed=False))
    futures = [engine.append(opened.id, opened.writer, chunk(n)) for n in range(5, 9)]
    assert gate.inside.wait(PATIENCE)
    futures[0].add_done_callback(lambda _: None)
    gate.open.set()
    engine.stop()
    told = [future.exception(0) for future in futures]
    assert told[0] is None and all(isinstance(error, BusyError) for error in told[1:])
    with Engine(model, tokenizer, folder=tmp_path) as engine:
        assert engine.info(opened.id).expected == 6


@pytest.mark.parametrize("part", [0, 50])
def test_a_full_disk_refuses_the_chunk_and_disturbs_nobody(engines, model, tokenizer, monkeypatch, part):
    engine = engines()
    full, other = engine.open(seed=1), engine.open(seed=2)
    say(engine, full, *(chunk(n) for n in range(3)))
    say(engine, other, *(chunk(n) for n in range(3)))
    where, real = str(engine._lives[full.id].shelf.folder), journal_module._write_all

    def write(file, data):
        if str(file.name).startswith(where):
            real(file, data[:part])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_write_all", write)
        refused = engine.append(full.id, full.writer, chunk(3)).exception(PATIENCE)
        assert isinstance(refused, BusyError) and refused.retry_after and "No space left" in str(refused)
        assert engine.info(full.id).expected == 3
        say(engine, other, *(chunk(n) for n in range(3, 6)))
    for each, seed in ((full, 1), (other, 2)):
        session, expected = alone(model, tokenizer, 8, seed)
        start = engine.info(each.id).expected
        for reply in say(engine, each, *(chunk(n) for n in range(start, 8))):
            assert_same(reply.turn, expected[reply.seq])
        assert_same_state(session_of(engine, each.id), session)
    engine.stop()
    again = engines()
    assert again.info(full.id).expected == again.info(other.id).expected == 8


def test_a_disk_that_takes_no_snapshots_loses_nothing(engines, model, tokenizer, monkeypatch):
    engine = engines()
    opened = engine.open()

    def replace(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_replace", replace)
        say(engine, opened, *(chunk(n) for n in range(9)))
        with pytest.raises(BusyError, match="No space left"):
            engine.open()
        with pytest.raises(BusyError, match="No space left"):
            engine.fork(opened.id)
        session_of(engine, opened.id)
        engine.stop()
        assert engine.stats().snapshots_failed >= 1
    other = engines()
    assert_same_state(session_of(other, opened.id), alone(model, tokenizer, 9)[0])
    assert other.stats().since.replayed == 9 and other.stats().sessions == 1


def run_class(folder: Path, most: int, how: signal.Signals) -> tuple[dict[int, Opened], dict[int, list]]:
    """Start it, end it by a signal after so many replies; the sessions' names, and each learner's replies."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "tests.serve.classroom", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        notes = [child.stdout.readline() for _ in range(LEARNERS + most)]  # waits for each
        child.send_signal(how)
        notes += child.stdout.readlines()
    assert child.returncode == (0 if how == signal.SIGTERM else -how)
    lines = [json.loads(line) for line in notes if line.endswith(b"\n")]
    opened = {line["who"]: Opened(line["id"], line["writer"]) for line in lines if isinstance(line, dict)}
    replies: dict[int, list] = {who: [] for who in opened}
    for who, *rest in (line for line in lines if isinstance(line, list)):
        replies[who].append(rest)
    return opened, replies


@pytest.mark.parametrize(("how", "replies"), [(signal.SIGKILL, 38), (signal.SIGTERM, 38)])
def test_a_class_is_killed_and_each_learner_goes_on(tmp_path, how, replies):
    """What each of them got before it, they get again; and then it goes on, to the bit as if nothing had been."""
    folder = tmp_path / "sessions"
    opened, noted = run_class(folder, replies, how)
    assert len(opened) == LEARNERS and sum(map(len, noted.values())) >= replies
    model, tokenizer = tiny()
    with Engine(model, tokenizer, folder=folder, limits=LIMITS) as engine:
        for who, each in opened.items():
            info, answered = engine.info(each.id), len(noted[who])
            # nothing that was answered is lost; of what was not, at most the turn in work and the notes' own delay
            assert answered <= info.expected <= answered + 1
            assert info.restored == "" or (how == signal.SIGKILL and f"turn {info.expected}" in info.restored)
            session, expected = alone(model, tokenizer, info.expected + 3, seed=who, who=who)
            assert [mark(turn) for turn in expected[:answered]] == noted[who]
            if answered:
                (again,) = say(engine, each, chunk(answered - 1, who))
                assert again.again and mark(again.turn) == noted[who][-1]
            for reply in say(engine, each, *(chunk(n, who) for n in range(answered, info.expected + 3))):
                assert_same(reply.turn, expected[reply.seq])
            assert_same_state(session_of(engine, each.id), session)
        if how == signal.SIGTERM:
            assert engine.stats().since.replayed == 0


@pytest.fixture(scope="module")
def two_sessions(model, tokenizer, tmp_path_factory):
    """A folder as kill -9 leaves it, with two sessions of ten turns; the first is damaged in the tests."""
    folder = tmp_path_factory.mktemp("two")
    with Engine(model, tokenizer, folder=folder / "live", limits=Limits(snapshot=4, shed=False)) as engine:
        opened = [engine.open(seed=who) for who in range(2)]
        for who, each in enumerate(opened):
            for n in range(10):
                say(engine, each, chunk(n, who))
                settle(engine)
        shutil.copytree(folder / "live", folder / "found")
    return folder / "found", opened, [alone(model, tokenizer, 13, who, who) for who in range(2)]


FILES = ["session.json", "000000.journal", "8.state", "4.state"]


@settings(max_examples=60)
@given(
    name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255),
    how=st.sampled_from(["flip", "cut", "empty", "gone", "junk", "folder"]),
)  # fmt: skip
def test_damaged_files_are_one_sentence_or_a_clean_return(
    model, tokenizer, tmp_path_factory, two_sessions, name, where, flip, how
):
    found, (hurt, whole), outputs = two_sessions
    folder = tmp_path_factory.mktemp("fuzz") / "sessions"
    shutil.copytree(found, folder)
    file = folder / hurt.id / name
    data = bytearray(file.read_bytes())
    at = int(where * len(data))
    if how == "flip":
        data[at] ^= flip
    elif how in ("cut", "junk"):
        data[at:] = bytes([flip]) * (flip if how == "junk" else 0)
    elif how == "empty":
        data.clear()
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif how != "gone":
        file.write_bytes(data)
    with Engine(model, tokenizer, folder=folder, limits=Limits(snapshot=4, shed=False)) as engine:
        (reply,) = say(engine, whole, chunk(10, 1))  # the other one is not disturbed
        assert_same(reply.turn, outputs[1][1][10])
        try:
            info = engine.info(hurt.id)
        except NoSessionError as error:
            assert "cannot come back" in str(error) and "\n" not in str(error)
            assert name != "8.state" and name != "4.state"  # a snapshot can always be done without
            return
        assert info.expected <= 10 and "\n" not in info.restored
        assert (info.restored == "") == (info.expected == 10)
        if name.endswith(".state"):
            assert info.expected == 10
        seed = json.loads((folder / hurt.id / "session.json").read_text())["seed"]
        if seed != 0:  # a flipped digit that is still a seed
            return
        (reply,) = say(engine, hurt, chunk(info.expected, 0))
        assert_same(reply.turn, outputs[0][1][info.expected])


def test_a_future_that_was_lost_does_not_come_back_with_a_snapshot(model, tokenizer, tmp_path, two_sessions):
    """A journal cut before the newest snapshot: another future is written, and the old state must not meet it."""
    found, (hurt, _), _ = two_sessions
    folder = tmp_path / "sessions"
    shutil.copytree(found, folder)
    file = folder / hurt.id / "000000.journal"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with Engine(model, tokenizer, folder=folder, limits=Limits(snapshot=100, shed=False)) as engine:
        info = engine.info(hurt.id)
        assert info.expected < 8 and f"turns {info.expected} to 7" in info.restored
        say(engine, hurt, *(chunk(n, who=5) for n in range(info.expected, 10)))
        settle(engine)
        shutil.copytree(folder, tmp_path / "found")
    twin = Session(model, tokenizer, seed=0)
    for n in range(10):
        step_alone(twin, chunk(n, 0 if n < info.expected else 5))
    with Engine(model, tokenizer, folder=tmp_path / "found") as engine:
        assert_same_state(session_of(engine, hurt.id), twin)


def test_the_log_says_which_session_was_damaged_and_how(model, tokenizer, tmp_path, two_sessions):
    """With the beginning of its name alone: the whole name is half of a key."""
    found, (hurt, lost), _ = two_sessions
    folder = tmp_path / "sessions"
    shutil.copytree(found, folder)
    (folder / hurt.id / "8.state").write_bytes(b"no state")
    (folder / lost.id / "session.json").write_text("{}")
    stream = io.StringIO()
    handler = start_log(stream)
    try:
        with Engine(model, tokenizer, folder=folder, limits=Limits(snapshot=4, shed=False)) as engine:
            session_of(engine, hurt.id)
    finally:
        stop_log(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (damaged,) = [line for line in lines if line["event"] == "state damaged, an older one is used"]
    assert (damaged["session"], damaged["turn"], damaged["level"]) == (hurt.id[:6], 8, "warning")
    (gone,) = [line for line in lines if line["event"] == "cannot come back"]
    assert gone["session"] == lost.id[:6] and "session.json" in gone["why"]
    assert hurt.id not in stream.getvalue() and lost.id not in stream.getvalue()
