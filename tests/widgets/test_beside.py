"""A colleague beside a live session: what is asked is answered, what is drawn is sent, what is called off is gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.colleague import Assisted
from tml_lab.background.panel import Board, Checklist, from_plain, panel_at
from tml_lab.background.spoken import spoken_tools
from tml_lab.stream.recording import Inputs, Recording
from tml_lab.stream.replay import replay
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult
from tml_widgets import LiveSession
from tml_widgets.protocol import to_pcm
from tml_widgets.understands import understands_of

QUIET = np.zeros(3200, np.float32)


@dataclass
class Asks:
    """A stand-in that asks in the turns named; the shipped model was not trained to ask."""

    asks: dict[int, str]
    typed: list[tuple[int, str]] = field(default_factory=list)
    turn: int = 0

    def step(self, audio: np.ndarray, frames: np.ndarray | None = None, text: str | None = None) -> TurnResult:
        self.typed += [(self.turn, text)] if text else []
        request = self.asks.get(self.turn, "")
        decision = "<delegate>" if request else "<silent>"
        self.turn += 1
        return TurnResult(self.turn - 1, decision, 0.0, "", (), QUIET, {"total": 0.0}, None, request)

    def recording(self) -> Recording:
        return Recording(Inputs(np.tile(QUIET, self.turn), tuple(self.typed)), ("<silent>",) * self.turn)


class Hangs:
    name = "clock"

    async def stream(self, request: str):
        await asyncio.Event().wait()
        yield ""


def begin(live: LiveSession) -> None:
    live._on_message(live, {"kind": "start"}, [])
    live.wait(60)


def turn(live: LiveSession) -> None:
    """One chunk goes through, after everything that does not hang has been answered."""
    content = {"kind": "chunk", "seq": len(live.turns), "t0": 0.0, "parts": ["pcm"]}
    live._on_message(live, content, [to_pcm(QUIET)])
    live.wait(60)
    agent = live._worker.beside.assisted.agent  # type: ignore[union-attr]
    end = time.monotonic() + 30
    while any(call.tool != "clock" for call in agent.open_calls()):
        assert time.monotonic() < end


def beside(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in sent if message["kind"] == "beside"]


def test_a_request_is_answered_and_its_drawing_is_sent_once(open_live: Callable) -> None:
    session = Asks({0: "table bread three", 1: "timer two seconds", 2: "kitchen bread"})
    live, sent = open_live(lambda: session, colleague=True)
    assert live.colleague and live.panel == ()
    begin(live)
    for _ in range(32):
        turn(live)
    whole, *news = beside(sent)
    assert whole["whole"] and whole["put"] == [] and whole["tasks"] == []
    assert [[item["id"] for item in m["put"]] for m in news if m["put"]] == [["table"], ["timer 1"]]
    (table,) = news[1]["put"]
    assert (table["rows"], table["alt"]) == ([["bread", "3"]], "Table table: 1 rows of what, how many.")
    timer = next(item for m in news for item in m["put"] if item["kind"] == "timer")
    assert (timer["started"], timer["seconds"]) == (2, 2.0)
    assert news[0]["tasks"] == [{"id": 0, "tool": "table", "request": "bread three", "status": "open", "text": ""}]
    assert news[-1]["tasks"] == [] and news[-1]["turn"] < 31  # what has ended is shown for three seconds
    assert session.typed == [(1, "table done"), (2, "timer done"), (3, "kitchen failed")]
    turns = [message for message in sent if message["kind"] == "turn"]
    assert [m["request"] for m in turns[:3]] == list(session.asks.values()) and turns[1]["typed"] == "table done"
    assert [item.id for item in live.panel] == ["table", "timer 1"]
    assert panel_at(from_plain(live.recording.panel), 31) == list(live.panel)


def test_a_task_that_is_called_off_is_gone_in_the_next_turn(open_live: Callable) -> None:
    def assist(session: Any) -> Assisted:
        board = Board()
        tools = [tool for tool in spoken_tools(board) if tool.name != "clock"]
        return Assisted(session, BackgroundAgent([*tools, Hangs()]), board)

    live, sent = open_live(lambda: Asks({0: "clock", 1: "clock now"}), colleague=assist)
    begin(live)
    for _ in range(3):
        turn(live)
    assert [task["id"] for task in beside(sent)[-1]["tasks"]] == [0, 1]
    live._on_message(live, {"kind": "cancel", "id": 0}, [])
    agent = live._worker.beside.assisted.agent  # type: ignore[union-attr]
    end = time.monotonic() + 30
    while len(agent.open_calls()) > 1:
        assert time.monotonic() < end
    turn(live)
    assert [task["id"] for task in beside(sent)[-1]["tasks"]] == [1]
    live.stop()
    live.wait(60)
    assert beside(sent)[-1]["tasks"] == [] and not agent._thread.is_alive()


def test_a_person_ticks_an_entry(open_live: Callable) -> None:
    live, sent = open_live(lambda: Asks({0: "list add bread"}), colleague=True)
    begin(live)
    turn(live)
    for content in ({"id": "list", "entry": 0, "done": True}, {"id": "list", "entry": 7, "done": True},
                    {"id": "gone", "entry": 0, "done": True}):  # fmt: skip
        live._on_message(live, {"kind": "tick", **content}, [])
    turn(live)
    (shopping,) = live.panel
    assert isinstance(shopping, Checklist) and shopping.entries[0].done
    assert beside(sent)[-1]["put"][0]["entries"] == [{"text": "bread", "done": True}]


def test_a_page_loaded_anew_gets_the_whole(open_live: Callable) -> None:
    live, sent = open_live(lambda: Asks({0: "list add bread"}), colleague=True)
    begin(live)
    turn(live)
    turn(live)
    live._on_message(live, {"kind": "hello", "secure": True}, [])
    live.wait(60)
    assert beside(sent)[-1]["whole"] and [item["id"] for item in beside(sent)[-1]["put"]] == ["list"]
    begin(live)  # a fresh session has a fresh panel
    assert beside(sent)[-1]["put"] == [] and live.panel == ()


def test_without_a_colleague_nothing_stands_beside(open_live: Callable) -> None:
    live, sent = open_live(lambda: Asks({0: "list add bread"}))
    begin(live)
    live._on_message(live, {"kind": "chunk", "seq": 0, "t0": 0.0, "parts": ["pcm"]}, [to_pcm(QUIET)])
    live._on_message(live, {"kind": "cancel", "id": 0}, [])
    live.wait(60)
    assert not live.colleague and beside(sent) == [] and live.panel == () and len(live.turns) == 1


def test_a_model_elsewhere_that_was_taught_to_ask_gets_the_tools_when_it_has_begun(open_live: Callable) -> None:
    class Taught(Asks):
        may_ask = True

    live, sent = open_live(lambda: Taught({0: "list add bread"}))
    assert not live.colleague and "Tools" not in [group["title"] for group in live.understands]
    begin(live)
    turn(live)
    turn(live)
    assert live.colleague and [item.id for item in live.panel] == ["list"]
    assert live.understands == understands_of("everything")
    live, sent = open_live(lambda: Taught({0: "list add bread"}), colleague=False)
    begin(live)
    live._on_message(live, {"kind": "chunk", "seq": 0, "t0": 0.0, "parts": ["pcm"]}, [to_pcm(QUIET)])
    live.wait(60)
    assert not live.colleague and beside(sent) == [] and len(live.turns) == 1


def test_a_checkpoint_with_a_colleague_hears_attends_and_replays(open_live: Callable, pico: str, clip: Any) -> None:
    live, _ = open_live(pico, clip, colleague=True)
    live.pick(2, 1)
    live.run()
    assert isinstance(live._worker.talk, Session) and live._worker._ear is not None
    assert live.recording.attention.layer == 2
    assert replay(live.recording, *live.checkpoint).decisions == tuple(row.decision for row in live.turns)


@pytest.fixture(autouse=True)
def _no_threads_left() -> Any:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "tml-background"]
