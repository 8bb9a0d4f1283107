"""A session that asks and reads what comes back: in its own time, silently, and repeatable without any tool."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.colleague import Assisted
from tml_lab.background.spoken import Checklist, spoken_tools
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import AUDIO, DELEGATE, TextTokenizer
from tml_lab.stream.replay import differences, offline_logits, replay
from tml_lab.stream.rollout import Heard, rollout
from tml_lab.stream.session import Session
from tml_lab.worlds.episode import closed_world

TOKENIZER = TextTokenizer.build(closed_world())
QUIET = np.zeros(TURN_SAMPLES, np.float32)


class Scripted(InteractionModel):
    """A model made to ask: in some turns it delegates, and what it asks is given."""

    wanted: list[str]
    asks: dict[int, str]
    turn = -1

    def text_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = super().text_logits(hidden)
        name = self.wanted.pop(0) if self.wanted else "<silent>"
        push = torch.zeros_like(logits)
        push[..., TOKENIZER.id(name)] = 1e4
        return logits + push


def scripted(*turns: str) -> Scripted:
    """In each turn, silent where it is empty, else a request of these words."""
    model = new_model("pico", TOKENIZER, seed=0).eval()
    model.__class__ = Scripted
    steps: list[str] = []
    for request in turns:
        steps += [DELEGATE, *request.split(), AUDIO] if request else ["<silent>"]
    model.wanted = steps  # type: ignore[assignment]
    return model  # type: ignore[return-value]


def test_a_request_is_made_silently_and_is_in_the_recording() -> None:
    model = scripted("", "calculator twelve times fourteen", "")
    session = Session(model, TOKENIZER)
    results = [session.step(QUIET) for _ in range(3)]
    assert [r.request for r in results] == ["", "calculator twelve times fourteen", ""]
    assert [r.decision for r in results] == ["<silent>", "<delegate>", "<silent>"]
    assert not any(r.words or r.text for r in results)
    recording = session.recording()
    assert recording.requests() == [(1, "calculator twelve times fourteen")]
    assert recording.words == ((), (), ()) and recording.text == ""
    # the positions are the ones that a training episode of this request has, and one offline pass agrees
    labels = [recording.tokens[int(at)].label for at in recording.tokens.where("text_out", 1)]
    assert labels == ["<delegate>", "calculator", "twelve", "times", "fourteen"]
    model.wanted = []
    assert offline_logits(recording, model).shape[0] == len(recording.tokens)


def test_a_long_request_ends_by_itself() -> None:
    model = scripted(" ".join(["two"] * 30))
    result = Session(model, TOKENIZER).step(QUIET)
    assert result.request == " ".join(["two"] * 12)


def test_what_comes_back_is_read_and_a_replay_needs_no_tool() -> None:
    turns = ("", "calculator twelve times fourteen", "list add bread", "kitchen bread", *[""] * 40)
    shopping = Checklist()
    with BackgroundAgent([*(t for t in spoken_tools() if t.name != "list"), shopping]) as agent:
        session = Assisted(Session(scripted(*turns), TOKENIZER), agent)
        for n in range(len(turns)):
            session.step(QUIET, text="hello" if n == 0 else None)
            if n == 3:
                wait_until_idle(agent)
        recording = session.recording()
    typed = " ".join(text for _, text in recording.inputs.typed)
    assert typed.startswith("hello")
    for text in ("calculator 168", "list done", "kitchen failed"):
        assert text in typed, typed
    assert shopping.items == ["bread"] and "there is no tool called 'kitchen'" in session.notes[-1]
    again = replay(recording, scripted(*turns), TOKENIZER)
    assert differences(recording, again) == [] and again.requests() == recording.requests()


def wait_until_idle(agent: BackgroundAgent) -> None:
    """Until every call is answered; what came is put back for the session to read."""
    got = []
    while agent.open_calls():
        got += agent.poll(patience=1.0)
    for update in got:
        agent._updates.put(update)


def test_a_tool_that_fails_or_hangs_never_holds_a_turn() -> None:
    class Hangs:
        name = "calculator"

        async def stream(self, request: str):
            import asyncio

            await asyncio.Event().wait()
            yield "never"

    with BackgroundAgent([Hangs()]) as agent:
        session = Assisted(Session(scripted("calculator one plus one", *[""] * 5), TOKENIZER), agent)
        for _ in range(6):
            session.step(QUIET)
        assert session.recording().inputs.typed == () and len(agent.open_calls()) == 1


def test_a_refused_turn_loses_no_result() -> None:
    with BackgroundAgent(spoken_tools()) as agent:
        session = Assisted(Session(scripted("list add bread", *[""] * 5), TOKENIZER), agent)
        session.step(QUIET)
        wait_until_idle(agent)
        with pytest.raises(ValueError, match="is nan"):
            session.step(QUIET * np.nan)
        session.step(QUIET)
        assert session.recording().inputs.typed == ((1, "list done"),)


def test_a_batch_asks_as_a_session_does_and_is_answered() -> None:
    calls = []

    def colleague(row: int, turn: int, request: str) -> list[tuple[int, str]]:
        calls.append((row, turn, request))
        return [(turn + 2, "clock ten")]

    inputs = [Heard(np.zeros(6 * TURN_SAMPLES, np.float32))]
    run = rollout(scripted("", "clock", *[""] * 4), TOKENIZER, inputs, colleague=colleague)[0]
    assert calls == [(0, 1, "clock")] and run.requests == [(1, "clock")] and run.words == []
    session = Session(scripted("", "clock", *[""] * 4), TOKENIZER)
    results = [session.step(QUIET, text="clock ten" if n == 3 else None) for n in range(6)]
    np.testing.assert_allclose([r.p_speak for r in results], run.p_speak, atol=1e-5)
