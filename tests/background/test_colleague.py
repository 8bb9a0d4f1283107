"""A session that asks and reads what comes back: in its own time, silently, and repeatable without any tool."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.colleague import Assisted, with_colleague
from tml_lab.background.context import ContextPackage, build_context
from tml_lab.background.panel import Board, describe, from_plain, panel_at
from tml_lab.background.spoken import spoken_tools
from tml_lab.background.told import Told, told
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, offline_logits, replay
from tml_lab.stream.rollout import Heard, rollout
from tml_lab.stream.session import Session
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build([*closed_world(), "ask", "table"])
QUIET = np.zeros(TURN_SAMPLES, np.float32)


def scripted(*turns: str) -> Told:
    """In each turn, silent where it is empty, else a request of these words."""
    asks = {turn: request for turn, request in enumerate(turns) if request}
    return told(new_model("pico", TOKENIZER, seed=0).eval(), TOKENIZER, asks, silent=True)


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
    assert offline_logits(recording, model).shape[0] == len(recording.tokens)


def test_a_long_request_ends_by_itself() -> None:
    model = scripted(" ".join(["two"] * 30))
    result = Session(model, TOKENIZER).step(QUIET)
    assert result.request == " ".join(["two"] * 12)


def test_told_to_ask_a_model_is_otherwise_the_same() -> None:
    base = new_model("pico", TOKENIZER, seed=0).eval()
    sound = np.random.default_rng(0).standard_normal((8, TURN_SAMPLES)).astype(np.float32) / 8
    own = Session(base, TOKENIZER)
    forced = Session(told(base, TOKENIZER, {3: "clock"}), TOKENIZER)
    pairs = [(own.step(turn), forced.step(turn)) for turn in sound]
    assert [one.p_speak == two.p_speak for one, two in pairs[:3]] == [True] * 3
    assert pairs[3][1].request == "clock" and pairs[3][0].request == ""
    assert differences(forced.recording(), replay(forced.recording(), forced.model, TOKENIZER)) == []
    assert forced.recording().checkpoint == own.recording().checkpoint  # the weights are the same


def test_what_comes_back_is_read_and_a_replay_needs_no_tool() -> None:
    turns = ("", "calculator twelve times fourteen", "list add bread", "kitchen bread", *[""] * 40)
    board = Board()
    with BackgroundAgent(spoken_tools(board)) as agent:
        session = Assisted(Session(scripted(*turns), TOKENIZER), agent, board)
        for n in range(len(turns)):
            session.step(QUIET, text="hello" if n == 0 else None)
            if n == 3:
                wait_until_idle(agent)
        recording = session.recording()
    typed = " ".join(text for _, text in recording.inputs.typed)
    assert typed.startswith("hello")
    for text in ("calculator 168", "list done", "kitchen failed"):
        assert text in typed, typed
    assert describe(board.items[0], 0) == "Checklist list: 0 of 1 done."
    assert "there is no tool called 'kitchen'" in session.notes[-1]
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


class Hangs:
    """Says `half` and then nothing more."""

    name = "ask"
    as_it_comes = True

    async def stream(self, request: str):
        yield "half"
        await asyncio.Event().wait()


def test_a_tool_that_hangs_is_given_up_and_the_model_reads_that_it_failed() -> None:
    with BackgroundAgent([Hangs()]) as agent:
        session = Assisted(Session(scripted("ask one", *[""] * 9), TOKENIZER), agent, patience=1.0)
        session.step(QUIET)
        until(lambda: agent.open_calls()[0].partial)
        for _ in range(9):
            session.step(QUIET)
        assert session.recording().inputs.typed == ((1, "ask half"), (6, "ask failed"))
        assert session.notes == ["ask gave no answer in 1 s."]
        assert session.tasks[0].status == "failed" and session.open_tasks() == []
        until(lambda: not agent.open_calls())


def test_a_cancelled_task_is_not_read_and_the_others_go_on() -> None:
    with BackgroundAgent([Hangs(), *spoken_tools()]) as agent:
        turns = ("ask one", "list add bread", *[""] * 3)
        session = Assisted(Session(scripted(*turns), TOKENIZER), agent)
        session.step(QUIET)
        until(lambda: agent.open_calls()[0].partial)
        assert [task.tool for task in session.open_tasks()] == ["ask"] and session.cancel(0)
        session.step(QUIET)
        wait_until_idle(agent)
        for _ in range(3):
            session.step(QUIET)
        assert session.tasks[0].status == "cancelled" and not session.cancel(0)
        assert session.recording().inputs.typed == ((1, "ask half"), (2, "list done"))


class Tells:
    """Answers in sentences, as an endpoint does, the whole answer last."""

    name = "ask"
    as_it_comes = True

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences

    async def stream(self, request: str):
        for sentence in self.sentences:
            yield sentence
        yield "  ".join(self.sentences)


def test_sentences_are_read_as_they_come_and_once() -> None:
    with BackgroundAgent([Tells("one two.", "three.", "stop")]) as agent:
        session = Assisted(Session(scripted("ask it", *[""] * 3), TOKENIZER), agent)
        session.step(QUIET)
        wait_until_idle(agent)
        session.step(QUIET)
        assert session.recording().inputs.typed == ((1, "ask one two. ask three. ask stop"),)


def test_a_long_answer_is_read_in_several_turns_beside_what_is_typed() -> None:
    answer = " ".join(["seven"] * 200)  # 1200 characters; a session takes 500 in one turn
    with BackgroundAgent([Tells(answer)]) as agent:
        session = Assisted(Session(scripted("ask it", *[""] * 9), TOKENIZER), agent)
        session.step(QUIET)
        wait_until_idle(agent)
        for n in range(9):
            session.step(QUIET, text="two " * 100 if n == 1 else None)
        typed = [text for _, text in session.recording().inputs.typed]
        assert " ".join(typed).split().count("seven") == 200 and max(map(len, typed)) <= 500
        assert all(len(text) <= 210 for text in typed if not text.startswith("two"))


def test_the_panel_is_in_the_recording_and_a_replay_shows_the_same(tmp_path: Path) -> None:
    turns = ("table bread three", "timer two seconds", "list stop bread", "table bread three milk five", *[""] * 3)
    session = with_colleague(Session(scripted(*turns), TOKENIZER))
    for _ in turns:
        session.step(QUIET)
        wait_until_idle(session.agent)
    session.close()
    session.close()
    recording = session.recording()
    assert "a list can add" in session.notes[0] and len(session.history) == 3
    recording.save(tmp_path / "it")
    again = replay(Recording.load(tmp_path / "it"), scripted(*turns), TOKENIZER)
    assert differences(recording, again) == []
    for at in range(recording.turns):
        assert panel_at(from_plain(again.panel), at) == panel_at(session.history, at)
    assert [len(panel_at(session.history, at)) for at in range(5)] == [0, 1, 2, 2, 2]
    # another future keeps what was drawn before it, and nothing of what came later
    assert len(recording.fork(0.4, {"typed": []}).panel) == 1 and len(recording.fork(0.4).panel) == 3
    package = build_context(recording, 2)
    assert [item.id for item in package.panel] == ["table"] and ContextPackage.from_json(package.to_json()) == package


def test_a_tool_that_wants_it_is_told_the_whole_conversation() -> None:
    class Informed(Tells):
        def knowing(self, context: Callable[[], str]) -> Tells:
            return Tells(f"turn {ContextPackage.from_json(context()).turn}")

    turns = ("list add bread", "", "ask it", "")
    with BackgroundAgent([Informed("nothing"), *spoken_tools()]) as agent:
        session = Assisted(Session(scripted(*turns), TOKENIZER), agent)
        for _ in turns:
            session.step(QUIET)
            wait_until_idle(agent)
        assert session.tasks[1].text == "turn 3"


class Later:
    """Answers when it is let."""

    name = "calculator"

    def __init__(self) -> None:
        self.let = threading.Event()

    async def stream(self, request: str):
        await asyncio.to_thread(self.let.wait, 30)
        yield "5"


@pytest.mark.parametrize("typed", [None, "well", " ".join(["two"] * 100)])
def test_a_result_is_read_in_the_first_turn_after_it_came_whether_asked_for_or_not(typed: str | None) -> None:
    later, loud = Later(), np.random.default_rng(0).standard_normal(TURN_SAMPLES).astype(np.float32) / 8
    with BackgroundAgent([later]) as agent:
        session = Assisted(Session(scripted("calculator two plus three", *[""] * 4), TOKENIZER), agent)
        for turn in range(5):  # the user talks, and types, all the while
            session.step(loud, text=typed)
            if turn == 2:
                later.let.set()
                wait_until_idle(agent)
        read = [(turn, text) for turn, text in session.recording().inputs.typed if "calculator" in text]
        assert read == [(3, f"{typed or ''} calculator 5".strip())] and session.tasks[0].ended == 3


def test_the_course_is_searched_and_a_replay_needs_no_search() -> None:
    session = with_colleague(Session(scripted("search router", "", ""), TOKENIZER))
    for _ in range(3):
        session.step(QUIET)
        wait_until_idle(session.agent)
    session.close()
    recording = session.recording()
    ((turn, read),) = recording.inputs.typed
    assert turn == 1 and read.startswith("search router: scores experts")
    (table,) = panel_at(session.history, 2)
    assert describe(table, 2) == "Table found: router: 3 rows of where, begins, link."
    again = replay(recording, scripted("search router", "", ""), TOKENIZER)
    assert differences(recording, again) == [] and panel_at(from_plain(again.panel), 2) == [table]


def until(true: Callable[[], object]) -> None:
    """Wait for the agent's thread."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end


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
