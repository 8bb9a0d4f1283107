"""The shipped `nano-everything` asks for itself, says what came back, refuses: a typed line is all that it is given."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serve.loopback import served
from tml_lab.background.colleague import Talk, with_colleague
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.serve.engine import Engine
from tml_lab.serve.session import Session as Connected
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_lab.worlds.vocabulary import closed_world

MODEL, TOKENIZER = load_checkpoint("nano-everything")


def put_to(line: str, turns: int = 30, talk: Talk | None = None) -> Recording:
    """What becomes of a line typed in turn 2; nothing is heard."""
    session = with_colleague(talk or Session(MODEL, TOKENIZER))
    for turn in range(turns):
        session.step(np.zeros(TURN_SAMPLES, np.float32), None, line if turn == 2 else None)
        session.wait(10.0)
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
