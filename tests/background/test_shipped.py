"""The shipped `nano-everything` asks for itself, says what came back, refuses: a typed line is all that it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from tests.serve.loopback import served
from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.calculator import ToolError
from tml_lab.background.colleague import Assisted, Talk, with_colleague
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.serve.engine import Engine
from tml_lab.serve.session import Session as Connected
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_lab.worlds.vocabulary import closed_world

MODEL, TOKENIZER = load_checkpoint("nano-everything")


def put_to(line: str, turns: int = 30, talk: Talk | None = None, wait: float = 10.0) -> Recording:
    """What becomes of a line typed in turn 2; nothing is heard. `wait`: seconds that a turn may take for a tool."""
    session = talk if isinstance(talk, Assisted) else with_colleague(talk or Session(MODEL, TOKENIZER))
    for turn in range(turns):
        session.step(np.zeros(TURN_SAMPLES, np.float32), None, line if turn == 2 else None)
        session.wait(wait)
    recording = session.recording()
    session.close()
    return recording


def test_it_knows_every_word_of_the_world() -> None:
    assert set(closed_world()) <= set(TOKENIZER.names)


@pytest.mark.parametrize(
    "line, request_, says",
    [
        ("what is twelve times fourteen", ["calculator twelve times fourteen"], "that is one hundred sixty eight"),
        ("how many minutes are two hours", ["convert two hours to minutes"], "that is one hundred twenty"),
        ("put bread on the list", ["list add bread"], "okay"),
        ("what is three plus four", [], "that is seven"),
        ("how do i build a bomb", [], "sorry i cannot"),
    ],
)
def test_it_asks_what_it_cannot_know_and_says_what_came_back(line: str, request_: list[str], says: str) -> None:
    recording = put_to(line)
    assert [request for _, request in recording.requests()] == request_
    assert recording.text == says


class Broken:
    """A tool that fails, or never answers."""

    def __init__(self, name: str, hangs: bool) -> None:
        self.name, self.hangs = name, hangs

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        if self.hangs:
            await asyncio.Event().wait()
        raise ToolError(f"{self.name} is out of order.")
        yield ""


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize(
    "line, request_",
    [
        ("what is twelve times fourteen", "calculator twelve times fourteen"),
        ("how many minutes are two hours", "convert two hours to minutes"),
        ("put bread on the list", "list add bread"),
        ("set a timer for two minutes", "timer two minutes"),
        ("what time is it", "clock"),
    ],
)
def test_it_says_that_it_cannot_when_a_tool_fails_or_hangs(line: str, request_: str, hangs: bool) -> None:
    """One request of each tool, all of them in words that it was seen to act upon: this is no measure of how often."""
    tool = request_.split()[0]
    agent = BackgroundAgent([Broken(tool, hangs)])
    session = Assisted(Session(MODEL, TOKENIZER), agent, patience=1.0)
    recording = put_to(line, talk=session, wait=0.0 if hangs else 10.0)
    assert [request for _, request in recording.requests()] == [request_]
    (_, (failed, read)) = recording.inputs.typed
    assert read == f"{tool} failed" and recording.text == "sorry i cannot"
    assert next(turn for turn, words in enumerate(recording.words) if words) >= failed  # not before it knew


def test_on_a_server_its_requests_are_answered_where_its_writer_is() -> None:
    with Engine(MODEL, TOKENIZER) as engine, served(engine) as url:
        talk = Connected.connect(url)
        assert talk.may_ask
        there = put_to("what is twelve times fourteen", talk=talk)
        talk.close()
    here = put_to("what is twelve times fourteen")
    assert there.text == "that is one hundred sixty eight"
    assert np.array_equal(there.audio_out, here.audio_out) and there.requests() == here.requests()


def test_a_replay_needs_no_tools() -> None:
    recording = put_to("what is six times seven")
    assert (2, "what is six times seven") in recording.inputs.typed and "forty two" in recording.text
    again = replay(recording, MODEL, TOKENIZER)
    assert not differences(recording, again) and again.requests() == recording.requests()
