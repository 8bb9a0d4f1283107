"""The live widget on a server's session: the same turns as here, and its place on the server is given back."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

from tests.serve.loopback import eventually, served
from tml_lab.model.checkpoint import load_checkpoint, new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.engine import Engine
from tml_lab.serve.remote_line import UnreachableError
from tml_lab.serve.session import Session
from tml_lab.stream.recording import SKIPPED
from tml_lab.stream.turn_result import TurnResult
from tml_lab.worlds.vocabulary import closed_world, heard_world
from tml_widgets import Clip, Microphone


def test_a_clip_goes_through_on_a_server(open_live: Callable, pico: str, clip: Clip) -> None:
    here, _ = open_live(pico, clip)
    here.pick(1, 0)
    here.run()
    with Engine(*load_checkpoint(pico)) as engine, served(engine) as url:
        there, sent = open_live(lambda: Session.connect(url), clip)
        there.pick(1, 0)
        for _ in range(3):  # each start is a fresh session; the one before is kept, and the place of the first is free
            there.run()
            assert there.phase == "stopped", there.notice
            assert [row.decision for row in there.turns] == [row.decision for row in here.turns]
            assert [row.p_speak for row in there.turns] == [row.p_speak for row in here.turns]
        assert there.heads == here.heads == [2, 2, 2]  # one to be picked by, there as here
        assert all(message["shares"] for message in sent if message["kind"] == "turn")
        assert np.array_equal(there.recording.audio_out, here.recording.audio_out)
        assert there.recording.attention.layer == 1
        gc.collect()
        eventually(lambda: engine.stats().sessions == 2)


@pytest.mark.parametrize("words, taught", [(closed_world(), True), (heard_world(), False)])
def test_a_server_says_whether_its_model_was_taught_to_ask(words: tuple[str, ...], taught: bool) -> None:
    tokenizer = TextTokenizer.build(words)
    with Engine(new_model("pico", tokenizer), tokenizer) as engine, served(engine) as url:
        session = Session.connect(url)
        assert session.may_ask is taught
        assert session.heads == (2, 2, 2)
        session.close()


class Away:
    """A session on a server that is away while `away` is set."""

    def __init__(self) -> None:
        self.away = False
        self.heard: list[tuple[bool, str | None]] = []

    def step(self, audio, frames=None, text=None):
        if self.away:
            raise UnreachableError("the server could not be reached for 60 s: is it up?")
        self.heard.append((audio is SKIPPED, text))
        return TurnResult(len(self.heard) - 1, "<silent>", 0.0, "", (), np.zeros(3200, np.float32), {})

    def recording(self):
        return self.heard


def chunk(seq: int) -> dict:
    return {"kind": "chunk", "seq": seq, "t0": 0.0, "parts": ["pcm"]}


def test_while_the_server_is_away_the_session_waits_and_nothing_is_lost(open_live: Callable) -> None:
    session = Away()
    live, sent = open_live(lambda: session, Microphone())
    silence = (bytes(6400),)

    def say(content: dict, buffers: tuple = ()) -> None:
        live._on_message(live, content, list(buffers))

    say({"kind": "start"})
    say(chunk(0), silence)
    live.wait(60)
    session.away = True
    live.type("please count")
    say(chunk(1), silence)
    eventually(lambda: live.phase == "paused")
    assert live.notice.startswith("The server could not be reached") and "press Go on" in live.notice
    assert [message["held"] for message in sent if message.get("phase") == "paused"] == ["kernel"]
    say(chunk(2), silence)  # it was on its way when the page let go of its microphone, and wakes nobody
    live.wait(60)
    assert live.phase == "paused" and len(live.turns) == 1
    session.away = False
    say({"kind": "resume", "seq": 3})
    say(chunk(3), silence)
    live.wait(60)
    assert live.phase == "live" and live.notice == ""
    assert session.heard == [(False, None), (False, "please count")]
    assert live.recording is session.heard


def test_a_page_that_was_paused_elsewhere_does_not_go_on_by_itself(open_live: Callable) -> None:
    """Two windows show one session: a pause in one holds for the other, whose microphone is open."""
    live, sent = open_live(Away, Microphone())
    live._on_message(live, {"kind": "start"}, [])
    live._on_message(live, {"kind": "pause", "notice": "It waits.", "page": "one"}, [])
    live._on_message(live, chunk(0), [bytes(6400)])
    live.wait(60)
    assert live.phase == "paused" and live.turns == [] and sent[-1]["held"] == "one"
    live._on_message(live, {"kind": "resume", "seq": 1}, [])
    live.wait(60)
    live._on_message(live, {"kind": "hello"}, [])  # a third window: nobody asked for a pause
    live.wait(60)
    assert live.phase == "paused" and not [m for m in sent if m.get("phase") == "paused"][-1]["held"]
    live._on_message(live, chunk(2), [bytes(6400)])
    live.wait(60)
    assert live.phase == "live" and len(live.turns) == 1
