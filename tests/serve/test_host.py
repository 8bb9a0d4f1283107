"""The host: order, the drop policy, bad input, pauses, failures. Threads meet at events, never by sleeping."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.chunk_queue import Chunk
from tml_lab.serve.host import Served, SessionHost
from tml_lab.stream.recording import SKIPPED, Sound
from tml_lab.stream.replay import replay
from tml_lab.stream.session import Session

PATIENCE = 60.0  # seconds a test waits for what must come


class Gated:
    """A session that notes what it is given; each step waits until `go` is set."""

    def __init__(self) -> None:
        self.go, self.inside = threading.Event(), threading.Event()
        self.steps: list[tuple[float, bool, str | None]] = []  # first sample, had pictures, typed
        self.gaps = self.skipped = 0

    def step(self, audio: Sound, frames: np.ndarray | None = None, text: str | None = None) -> int:
        if audio is SKIPPED:
            self.skipped += 1
            return len(self.steps)
        self.inside.set()
        assert self.go.wait(PATIENCE)
        if text == "bad":
            raise ValueError("this is not sound.")
        if text == "fatal":
            raise RuntimeError("out of memory")
        if audio is None:
            self.gaps += 1
        else:
            self.steps.append((float(audio[0]), frames is not None, text))
        return len(self.steps)

    def recording(self) -> Any:
        return self.steps


def chunk(seq: int, text: str | None = None, video: bool = True) -> Chunk:
    frames = np.zeros((2, 4, 4, 3), np.uint8) if video else None
    return Chunk(seq, np.full(TURN_SAMPLES, seq / 100, np.float32), frames, text)


def started(session: Any, on_turn: Callable[[Served], None] | None = None, **limits: int) -> SessionHost:
    host = SessionHost(lambda: session, on_turn, **limits)
    host.start()
    host.wait_for("live", seconds=PATIENCE)
    return host


def seqs(session: Gated) -> list[int]:
    return [round(100 * first) for first, _, _ in session.steps]


def test_a_real_session_gives_the_recording_it_would_give_alone() -> None:
    tokenizer = TextTokenizer.build(["one", "two"])
    model = new_model("pico", tokenizer, seed=3).eval()
    served: list[Served] = []
    host = started(Session(model, tokenizer, seed=1), served.append, keep_video=6, keep_audio=6)
    rng = np.random.default_rng(0)
    for seq in range(6):
        assert host.put(Chunk(seq, rng.standard_normal(TURN_SAMPLES).astype(np.float32) / 10))
    host.stop(PATIENCE)
    recording = host.recording()
    assert recording.turns == 6 and [one.result.turn for one in served] == list(range(6))
    again = replay(recording, model, tokenizer)
    assert np.array_equal(again.p_speak, recording.p_speak)
    report = host.report()
    assert (report.phase, report.turns, report.queued, report.missed) == ("stopped", 6, 0, 0)
    assert 0 < report.latency_p50 <= report.latency_p95 <= report.latency_max
    assert report.latency_max == max(one.latency for one in served)


def test_a_slow_model_loses_pictures_first_and_then_sound() -> None:
    session, served = Gated(), []
    host = started(session, served.append, keep_video=2, keep_audio=4)
    host.put(chunk(0))
    assert session.inside.wait(PATIENCE)  # chunk 0 is being computed; all others have to queue
    for seq in range(1, 8):
        host.put(chunk(seq))
    during = host.report()
    assert (during.queued, during.deepest, during.lost_audio) == (4, 4, 3)
    session.go.set()
    host.stop(PATIENCE)
    assert seqs(session) == [0, 4, 5, 6, 7]
    assert [pictures for _, pictures, _ in session.steps] == [True, False, False, True, True]
    assert [one.missed for one in served] == [0, 3, 0, 0, 0]
    report = host.report()
    assert (report.missed, report.lost_audio, report.queued) == (3, 3, 0) and session.skipped == 3
    assert served[1].latency >= served[1].model and math.isfinite(report.late)


def test_bad_input_is_left_out_with_one_sentence() -> None:
    session, served = Gated(), []
    session.go.set()
    host = started(session, served.append)
    for seq, text in enumerate([None, "bad", None]):
        host.put(chunk(seq, text))
    host.stop(PATIENCE)
    assert seqs(session) == [0, 2] and session.gaps == 1 and [one.missed for one in served] == [0, 1, 0]
    report = host.report()
    assert (report.refused, report.turns, report.phase) == (1, 3, "stopped")
    assert report.notice == "Chunk 1 was left out: this is not sound."


def test_a_failing_model_ends_in_one_sentence_and_can_be_started_again() -> None:
    sessions = [Gated(), Gated()]
    made = iter(sessions)
    host = SessionHost(lambda: next(made))
    for session in sessions:
        session.go.set()
    host.start()
    host.put(chunk(0))
    host.put(chunk(1, "fatal"))
    host.wait_for("error", seconds=PATIENCE)
    assert host.report().notice == "The model stopped with an error in chunk 1: out of memory"
    assert not host.put(chunk(2))
    host.stop(PATIENCE)
    assert host.phase == "error" and len(host.recording()) == 1
    host.start()
    assert host.put(chunk(3))
    host.stop(PATIENCE)
    assert seqs(sessions[1]) == [3]
    assert (host.report().turns, host.report().notice) == (1, "")


def test_a_session_that_cannot_be_made() -> None:
    def broken() -> Any:
        raise OSError("no weights here")

    host = SessionHost(broken)
    host.start()
    host.wait_for("error", seconds=PATIENCE)
    assert host.report().notice == "The model could not be started: no weights here"
    host.stop(PATIENCE)
    with pytest.raises(RuntimeError, match="no finished session"):
        host.recording()


def test_while_paused_nothing_is_taken_and_time_stands_still() -> None:
    session, served = Gated(), []
    host = started(session, served.append)
    host.put(chunk(0))
    host.pause()  # chunk 0 was put before and is still run
    assert not host.put(chunk(1)) and not host.put(chunk(2))
    with pytest.raises(RuntimeError, match="the host is paused, not live"):
        host.pause()
    session.go.set()
    host.resume()
    assert host.put(chunk(3))
    host.stop(PATIENCE)
    assert seqs(session) == [0, 3] and [one.missed for one in served] == [0, 0]


def test_stop_can_forget_what_is_queued() -> None:
    session = Gated()
    host = started(session)
    host.put(chunk(0))
    assert session.inside.wait(PATIENCE)
    host.put(chunk(1))
    with pytest.raises(TimeoutError, match="not done"):
        host.stop(0.0, drop=True)
    with pytest.raises(RuntimeError, match="stop it before"):
        host.start()
    with pytest.raises(RuntimeError, match="no finished session"):
        host.recording()
    assert not host.put(chunk(2))  # it is about to end
    session.go.set()
    host.stop(PATIENCE, drop=True)
    host.stop(PATIENCE)
    assert seqs(session) == [0] and host.phase == "stopped"


def test_a_listener_that_fails_does_not_end_the_session() -> None:
    def listen(_: Served) -> None:
        raise KeyError("page gone")

    session = Gated()
    session.go.set()
    host = started(session, listen)
    host.put(chunk(0))
    host.put(chunk(1))
    host.stop(PATIENCE)
    assert seqs(session) == [0, 1]
    assert "What listens to the turns failed" in host.report().notice


def test_chunks_that_come_while_the_model_loads_are_kept() -> None:
    loaded, session = threading.Event(), Gated()
    session.go.set()

    def load() -> Gated:
        assert loaded.wait(PATIENCE)
        return session

    host = SessionHost(load)
    assert not host.put(chunk(0))  # not started
    assert math.isnan(host.report().latency_p50)
    host.start()
    assert host.phase == "loading" and host.put(chunk(1))
    loaded.set()
    host.stop(PATIENCE)
    assert seqs(session) == [1]


def test_a_burst_catches_up_and_the_recording_tells_what_nobody_heard() -> None:
    tokenizer = TextTokenizer.build(["one", "two"])
    model = new_model("pico", tokenizer, seed=3).eval()
    with torch.no_grad():  # it always speaks
        model.unembed.weight[tokenizer.id("<silent>")] = -model.unembed.weight[tokenizer.id("<speak>")]
    seconds = [0.0]
    session, served, run = Session(model, tokenizer, seed=1), list[Served](), threading.Semaphore(0)

    def listen(one: Served) -> None:
        served.append(one)
        run.release()

    host = started(session, listen)
    host._queue._clock = lambda: seconds[0]
    rng = np.random.default_rng(0)
    for seq in (0, 1, *range(4, 16)):  # two are lost; those behind come in one burst, three seconds later
        seconds[0] = 0.2 * seq if seq < 2 else 3.0
        host.put(Chunk(seq, rng.standard_normal(TURN_SAMPLES).astype(np.float32) / 10))
        assert seq > 1 or run.acquire(timeout=PATIENCE)  # before time goes on
    host.stop(PATIENCE)
    recording = host.recording()
    assert recording.turns == 16 and recording.inputs.skipped == (2, 3) == recording.gaps
    assert [one.result.turn for one in served] == [0, 1, *range(4, 16)]
    late = [one.result.turn for one in served if one.chunk.late]
    assert late == [n for n in range(4, 16) if n < 10]
    spoke = [n for n in late if recording.decisions[n] == "<speak>"]
    assert recording.unplayed == tuple(spoke)
    assert np.array_equal(replay(recording, model, tokenizer).p_speak, recording.p_speak)
