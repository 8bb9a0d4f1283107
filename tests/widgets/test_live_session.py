"""The Python side of the live widget, with a real model and no browser."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tml_lab.interp.edits import Steer
from tml_lab.interp.live import Live, Reader, lens
from tml_lab.interp.names import InterpError
from tml_lab.serve.chunk_queue import ChunkQueue
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_widgets import Clip, Microphone
from tml_widgets.live_worker import LiveWorker
from tml_widgets.protocol import STREAMS, to_pcm

TURNS_AFTER = 15  # of silence after a clip


def chunk(seq: int) -> tuple[dict, list[bytes]]:
    audio = np.random.default_rng(seq).standard_normal(3200) / 8
    frames = np.random.default_rng(seq).integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
    content = {"kind": "chunk", "seq": seq, "t0": 200.0 * seq, "size": [160, 120], "parts": ["pcm", "rgb"]}
    return content, [to_pcm(audio), frames.tobytes()]


def go_live(live, chunks: range) -> None:
    """What the browser does: Start, wait for `ready`, send chunks."""
    live._on_message(live, {"kind": "start"}, [])
    live.wait(60)
    for seq in chunks:
        live._on_message(live, *chunk(seq))
        live.wait(60)


def test_a_clip_goes_through_and_its_recording_replays(open_live: Callable, pico: str, clip: Clip) -> None:
    live, sent = open_live(pico, clip)
    live.run()
    assert len(live.turns) == 6 + TURNS_AFTER
    assert [row.typed for row in live.turns].index("stop now") == 2
    assert len({row.decision for row in live.turns}) > 1
    turns = [message for message in sent if message["kind"] == "turn"]
    assert [message["p_speak"] for message in turns] == [round(row.p_speak, 5) for row in live.turns]
    assert [m["phase"] for m in sent if m["kind"] == "status"] == ["loading", "playing", "stopped"]
    assert differences(live.recording, replay(live.recording, *live.checkpoint)) == []


def test_saved_recordings_replay_to_the_same_decisions(
    open_live: Callable, pico: str, clip: Clip, tmp_path: Path
) -> None:
    live, sent = open_live(pico, clip, save_to=tmp_path / "recordings")
    live.run()
    live._on_message(live, {"kind": "save"}, [])
    live.wait(60)
    (saved,) = [message["path"] for message in sent if message["kind"] == "saved"]
    loaded = Recording.load(saved)
    assert Path(saved).parent == tmp_path / "recordings" and saved.endswith(".tml.zip")  # one file, to be shared
    assert replay(loaded, *live.checkpoint).decisions == tuple(row.decision for row in live.turns)


def test_turns_go_on_while_a_recording_is_written(open_live: Callable, pico: str, tmp_path: Path) -> None:
    live, sent = open_live(pico, Microphone(), save_to=tmp_path)
    go_live(live, range(2))
    begun, may_end = threading.Event(), threading.Event()

    def slow(recording: Recording, folder: Path) -> Path:
        begun.set()
        assert may_end.wait(60)
        return save(recording, folder)

    save = Recording.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "save", slow)
        live._on_message(live, {"kind": "pause", "notice": ""}, [])  # its time stands still while nothing comes
        live._on_message(live, {"kind": "save"}, [])
        assert begun.wait(60)
        live._on_message(live, {"kind": "resume", "seq": 2}, [])
        for seq in (2, 3):
            live._on_message(live, *chunk(seq))
        with pytest.raises(TimeoutError, match="not written after 2 s"):
            live.wait(2)
        assert len(live.turns) >= 4 and not [message for message in sent if message["kind"] == "saved"]
        may_end.set()
        live.wait(60)
    (saved,) = [message["path"] for message in sent if message["kind"] == "saved"]
    assert Recording.load(saved).turns == 2, "what was said later is not in it"


def test_model_and_disk_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model takes 1.5 of the 2 seconds; for the recording half a second is left."""
    now, asked = [100.0], []

    class Writing:
        def join(self, seconds: float) -> None:
            asked.append(seconds)

        def is_alive(self) -> bool:
            return True

    def done_later(action: Callable[[], None]) -> None:
        now[0] += 1.5
        action()

    worker = LiveWorker(Session, ChunkQueue(), print)
    monkeypatch.setattr(worker, "command", done_later)
    monkeypatch.setattr(worker._writers, "_threads", [Writing()])
    monkeypatch.setattr("tml_widgets.live_worker.time.monotonic", lambda: now[0])
    with pytest.raises(TimeoutError, match="not written after 2 s"):
        worker.drain(2)
    assert asked == [0.5]


def test_a_full_disk_is_said_and_the_session_goes_on(open_live: Callable, pico: str, tmp_path: Path) -> None:
    live, _ = open_live(pico, Microphone(), save_to=tmp_path / "file" / "folder")
    (tmp_path / "file").write_text("no folder")
    go_live(live, range(2))
    live._on_message(live, {"kind": "save"}, [])
    live.wait(60)
    assert live.phase == "live" and live.notice.startswith("The recording could not be saved: ")
    assert str(tmp_path) in live.notice and "live.save('folder')" in live.notice


def test_two_saves_in_one_second_do_not_share_a_file(open_live: Callable, pico: str, tmp_path: Path) -> None:
    live, sent = open_live(pico, Microphone(), save_to=tmp_path)
    go_live(live, range(2))
    for _ in range(3):
        live._on_message(live, {"kind": "save"}, [])
    live.wait(60)
    paths = [message["path"] for message in sent if message["kind"] == "saved"]
    assert len(set(paths)) == 3 and all(Recording.load(path).turns == 2 for path in paths)


def test_a_live_session_sees_hears_and_shows_attention(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico, Microphone())
    live.pick(2, 1)
    go_live(live, range(4))
    assert [m["kind"] for m in sent if m["kind"] != "turn"][-1] == "ready"
    turns = [message for message in sent if message["kind"] == "turn"]
    assert [message["t0"] for message in turns] == [0.0, 200.0, 400.0, 600.0]
    for n, message in enumerate(turns):
        assert sum(message["shares"]) == pytest.approx(1, abs=1e-3)
        assert message["shares"][STREAMS.index("seen")] > 0
        attention = np.frombuffer(message["buffers"][message["parts"].index("attention")], np.float32)
        assert attention.reshape(len(STREAMS), -1).shape == (len(STREAMS), n + 1)
    assert live.recording.attention.layer == 2
    assert live.heads == [2, 2, 2]


def test_a_gap_in_seq_is_marked(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    go_live(live, range(2))
    live._on_message(live, *chunk(5))
    live.wait(60)
    assert [row.missed for row in live.turns] == [0, 0, 1, 1, 1, 0]
    turns = [message for message in sent if message["kind"] == "turn"]
    assert [message["missed"] for message in turns] == [0, 0, 1, 1, 1, 0]
    assert [message["turn"] for message in turns] == list(range(6)) and live.recording.gaps == (2, 3, 4)


def test_threads_switch_faster_only_while_live(open_live: Callable, pico: str) -> None:
    before = sys.getswitchinterval()
    live, _ = open_live(pico)
    go_live(live, range(1))
    assert sys.getswitchinterval() == pytest.approx(0.0001)
    live._on_message(live, {"kind": "stop"}, [])
    live.wait(60)
    assert sys.getswitchinterval() == pytest.approx(before)
    assert live.phase == "stopped"


def test_chunks_after_stop_are_ignored(open_live: Callable, pico: str) -> None:
    live, _ = open_live(pico)
    go_live(live, range(2))
    live.stop()
    live._on_message(live, *chunk(2))
    live.wait(60)
    assert len(live.turns) == 2


def test_a_second_start_is_a_fresh_session(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    for _ in range(2):
        go_live(live, range(3))
    decisions = [message["p_speak"] for message in sent if message["kind"] == "turn"]
    assert len(live.turns) == 3
    assert decisions[:3] == decisions[3:]
    assert differences(live.before, live.recording) == []  # a wrong click has lost nothing


def test_a_missing_checkpoint_is_said_in_words(open_live: Callable, tmp_path: Path) -> None:
    live, sent = open_live(tmp_path / "nowhere")
    live._on_message(live, {"kind": "start"}, [])
    live.wait(60)
    assert live.phase == "error"
    assert sent[-1]["notice"].startswith("The model could not be started: no model.safetensors")


def test_a_broken_turn_ends_the_session_in_words(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    go_live(live, range(1))
    live.type("x" * 600)
    live._on_message(live, *chunk(1))
    live.wait(60)
    assert live.phase == "error"
    assert "600 characters" in sent[-1]["notice"]
    go_live(live, range(2))  # and Start works again
    assert live.phase == "live" and len(live.turns) == 2


def test_a_page_that_is_loaded_anew_takes_the_session_up_again(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    go_live(live, range(6))
    whole = live.recording
    live._on_message(live, {"kind": "stop"}, [])
    go_live(live, range(3))
    live._on_message(live, {"kind": "hello", "secure": True}, [])
    live.wait(60)
    told = [message for message in sent if message["kind"] == "past"][-1]["turns"]
    assert live.phase == "paused" and "press Go on" in live.notice
    assert [turn["p_speak"] for turn in told] == [round(row.p_speak, 5) for row in live.turns]
    assert all(len(level) == 8 for turn in told for level in turn["loud"])
    live._on_message(live, {"kind": "resume", "seq": 3}, [])
    live.wait(60)
    assert [m["seq"] for m in sent if m["kind"] == "ready" and "seq" in m] == [3]
    for seq in range(3, 6):
        live._on_message(live, *chunk(seq))
    live.wait(60)
    assert differences(live.recording, whole) == []


def test_the_time_that_a_session_waits_is_no_gap(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    go_live(live, range(2))
    live._on_message(live, {"kind": "pause", "notice": "a word"}, [])
    live._on_message(live, {"kind": "resume", "seq": 50}, [])
    for seq in (50, 51, 53):
        live._on_message(live, *chunk(seq))
    live.wait(60)
    assert [(row.turn, row.seq, row.missed) for row in live.turns][2:] == [(2, 50, 0), (3, 51, 0), (5, 53, 1)]
    assert "a word" in [message["notice"] for message in sent if message["kind"] == "status"]


def test_sound_that_comes_by_itself_takes_a_waiting_session_up(open_live: Callable, pico: str) -> None:
    live, _ = open_live(pico)
    go_live(live, range(2))
    live._on_message(live, {"kind": "hello"}, [])  # a page was loaded; in another window this session goes on
    live._on_message(live, *chunk(9))
    live.wait(60)
    assert live.phase == "live" and live.turns[-1].seq == 9 and live.turns[-1].missed == 0
    assert sys.getswitchinterval() == pytest.approx(0.0001)


def test_go_on_without_a_session_begins_one(open_live: Callable, pico: str) -> None:
    live, _ = open_live(pico)
    live._on_message(live, {"kind": "resume", "seq": 7}, [])
    live.wait(60)
    live._on_message(live, *chunk(7))
    live.wait(60)
    assert live.phase == "live" and [row.missed for row in live.turns] == [0]


def test_a_clip_in_real_time_comes_at_its_pace_and_can_be_heard(
    open_live: Callable, pico: str, clip: Clip
) -> None:
    live, sent = open_live(pico, clip)
    live._on_message(live, {"kind": "play", "clip": "noise"}, [])
    live.wait(60)
    assert live.phase == "playing"
    live._player._thread.join(60)
    live.wait(60)
    heard = [message for message in sent if message["kind"] == "heard"]
    assert len(heard) == len(live.turns) == 6 + TURNS_AFTER
    assert [message["text"] for message in heard if message["text"]] == ["hiss"]
    assert live.notice == "The recording is over."


def test_an_unknown_clip_is_refused_in_words(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    live._on_message(live, {"kind": "play", "clip": "no such clip"}, [])
    assert sent[-1]["phase"] == "error" and "no sound file at no such clip" in sent[-1]["notice"]


def test_nothing_binary_is_a_trait(open_live: Callable, pico: str, clip: Clip) -> None:
    live, _ = open_live(pico, clip)
    live.run()
    state = live.get_state()
    assert not [name for name, value in state.items() if isinstance(value, bytes | memoryview)]
    assert len(str({name: value for name, value in state.items() if name != "_esm"})) < 30_000


def test_readers_and_steering_are_attached_while_it_runs(open_live: Callable, pico: str) -> None:
    live, sent = open_live(pico)
    with pytest.raises(RuntimeError, match="start a session first"):
        live.attach({})
    go_live(live, range(3))
    model, tokenizer = live.checkpoint
    push = Steer(at="L1 resid_post of decision", vector=np.linspace(-1, 1, model.cfg.d_model), strength=3.0)
    with pytest.raises(InterpError, match="no layer 9"):
        live.attach({"lens": Reader(9, float)})
    live.attach({"lens 2": lens(model, tokenizer, 2)}, [push])
    for seq in range(3, 6):
        live._on_message(live, *chunk(seq))
    live.wait(60)
    live.detach()
    live._on_message(live, *chunk(6))
    live.wait(60)
    assert [set(row.read) for row in live.turns] == [set()] * 3 + [{"lens 2"}] * 3 + [set()]
    told = [message["read"] for message in sent if message["kind"] == "turn"]
    assert told[4] == {"lens 2": round(live.turns[4].read["lens 2"], 4)} and told[6] == {}
    session = Session(model, tokenizer)
    for n in range(6):
        if n == 3:
            session.observer = Live(session, {"lens 2": lens(model, tokenizer, 2)}, [push])
        session.step(*live.recording.inputs.turn(n))
    np.testing.assert_array_equal(session.recording().p_speak, live.recording.p_speak[:6])
