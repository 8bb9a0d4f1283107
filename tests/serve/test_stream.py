"""The WebSocket side, spoken to without the client: order, resuming, refusals at the door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.serve.in_memory import InMemory
from tests.serve.loopback import eventually, served
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve import duplex
from tml_lab.serve.contract import Append, BusyError
from tml_lab.serve.gate import PROTOCOL, Settings
from tml_lab.serve.messages import append_message, read_error, read_reply
from tml_lab.serve.wire import Message, pack, unpack

TOKEN = "a-token-for-this-class"


@pytest.fixture
def sessions(model: InteractionModel, tokenizer: TextTokenizer) -> InMemory:
    return InMemory(model, tokenizer)


@pytest.fixture
def url(sessions: InMemory) -> Iterator[str]:
    with served(sessions) as url:
        yield url


def line(url: str, **how: Any) -> Any:
    return connect(f"{url}/stream", compression=None, **how)


def say(socket: ClientConnection, kind: str, **fields: Any) -> None:
    socket.send(pack(Message(kind, fields)))


def hear(socket: ClientConnection) -> Message:
    return unpack(socket.recv(30), max_parts=100)


def chunk(seq: int, **more: Any) -> bytes:
    return append_message(Append(seq, np.full(3200, seq / 100, np.float32), **more))


def opened(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    say(socket, "open_session", **fields)
    message = hear(socket)
    assert message.kind == "opened", message
    return message.fields


def test_answers_come_in_the_order_of_the_messages(url: str, sessions: InMemory) -> None:
    with line(url) as socket:
        opened(socket, seed=1)
        sessions.gate.clear()  # nothing can be answered yet
        socket.send(chunk(0))
        socket.send(b"no message")
        say(socket, "watch_attention", attention=[9, 9])  # waits for the session's thread
        sessions.gate.set()
        socket.send(chunk(1))
        say(socket, "session_info")
        socket.send(chunk(0))
        socket.send(chunk(7))
        say(socket, "sing")
        socket.send("text")
        say(socket, "close_session")
        got = [hear(socket) for _ in range(10)]
        assert [m.kind for m in got] == [
            "reply", "error", "error", "reply", "info", "reply", "error", "error", "error", "done"
        ]  # fmt: skip
        assert [read_reply(got[n]).seq for n in (0, 3, 5)] == [0, 1, 0] and read_reply(got[5]).again
        assert got[4].fields["expected"] == 2
        gap = read_error(got[6].fields)
        assert (gap.code, gap.expected, got[6].fields["seq"]) == ("chunk_gap", 2, 7)
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(30)
        assert ended.value.rcvd.code == 1000
    assert not sessions.held


def test_a_session_goes_on_over_a_new_socket_and_nothing_is_done_twice(url: str, sessions: InMemory) -> None:
    with line(url) as socket:
        who = opened(socket)
        socket.send(chunk(0))
        first = read_reply(hear(socket))
        socket.send(chunk(1))  # whose reply is lost with the socket
    with line(url) as socket:
        say(socket, "resume", session_id=who["session_id"], writer=who["writer"])
        back = hear(socket)
        assert back.kind == "opened" and back.fields["expected"] in (1, 2)
        for seq in (0, 1, 2):
            socket.send(chunk(seq))
        replies = [read_reply(hear(socket)) for _ in range(3)]
    assert [reply.turn.turn for reply in replies] == [0, 1, 2]
    assert replies[0].again and replies[0].turn.p_speak == first.turn.p_speak
    assert sessions.held[who["session_id"]].session.turn == 3


def test_the_socket_before_is_closed_when_the_writer_writes_over_a_new_one(url: str) -> None:
    with line(url) as old, line(url) as new, line(url) as thief:
        who = opened(old)
        old.send(chunk(0))
        hear(old)
        say(thief, "resume", session_id=who["session_id"], writer="guessed")
        assert hear(thief).kind == "opened"  # anybody who knows the name may look
        thief.send(chunk(1))
        assert read_error(hear(thief).fields).code == "not_allowed"
        old.send(chunk(1))
        assert hear(old).kind == "reply"  # and the writer was not disturbed
        say(new, "resume", session_id=who["session_id"], writer=who["writer"])
        hear(new)
        new.send(chunk(2))
        assert hear(new).kind == "reply"
        with pytest.raises(ConnectionClosed) as ended:
            old.recv(30)
        assert ended.value.rcvd.code == duplex.TAKEN_OVER


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (b"noise", "bad_chunk"),
        (pack(Message("append", {"seq": 0})), "refused"),
        (pack(Message("resume", {"session_id": "nobody", "writer": "x"})), "no_session"),
        (pack(Message("resume", {"session_id": 3})), "no_session"),
        (pack(Message("open_session", {"seed": "x"})), "refused"),
        (pack(Message("open_session", {"attention": [99, 0]})), "refused"),
    ],
)
def test_a_socket_begins_with_a_session_or_ends(url: str, first: bytes, code: str) -> None:
    with line(url) as socket:
        socket.send(first)
        assert read_error(hear(socket).fields).code == code
        with pytest.raises(ConnectionClosed):
            socket.recv(30)


def test_who_says_nothing_is_let_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplex, "FIRST_SECONDS", 0.05)
    with line(url) as socket, pytest.raises(ConnectionClosed) as ended:
        socket.recv(30)
    assert ended.value.rcvd.code == duplex.TOO_SLOW


def test_the_door_wants_token_origin_and_room(model, tokenizer) -> None:
    settings = Settings(tokens=(TOKEN,), origins=("https://hub.example.org",), max_sockets=1)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with served(InMemory(model, tokenizer), settings) as url:
        for how, status in [
            ({}, 403),
            ({"additional_headers": {"Authorization": "Bearer wrong"}}, 403),
            ({"additional_headers": bearer, "origin": "https://evil.example"}, 403),
            ({"subprotocols": [PROTOCOL, "bearer.wrong"]}, 403),
        ]:
            with pytest.raises(InvalidStatus) as refused, line(url, **how):
                pass
            assert refused.value.response.status_code == status
            assert b"sentence" in refused.value.response.body
        # As a browser does it, which can set no header: the token beside the protocol's name, and not sent back.
        page = {"subprotocols": [PROTOCOL, f"bearer.{TOKEN}"], "origin": "https://hub.example.org"}
        with line(url, **page) as socket:
            assert socket.subprotocol == PROTOCOL
            opened(socket)
            with pytest.raises(InvalidStatus) as full, line(url, additional_headers=bearer):
                pass
            assert full.value.response.status_code == 429 and full.value.response.headers["Retry-After"]


def test_a_frame_that_is_too_large_ends_its_socket_alone(model, tokenizer) -> None:
    with served(InMemory(model, tokenizer), Settings(max_message=50_000)) as url, line(url) as good:
        opened(good)
        with line(url) as socket:
            opened(socket)
            socket.send(bytes(50_001))
            with pytest.raises(ConnectionClosed) as ended:
                socket.recv(30)
            assert ended.value.rcvd.code == 1009
        good.send(chunk(0))
        assert hear(good).kind == "reply"


def test_who_sends_too_fast_is_slowed_down_and_loses_nothing(model, tokenizer) -> None:
    with served(InMemory(model, tokenizer), Settings(chunks=200, chunk_burst=2)) as url, line(url) as socket:
        opened(socket)
        for seq in range(12):
            socket.send(chunk(seq))
        assert [read_reply(hear(socket)).seq for _ in range(12)] == list(range(12))


def test_busy_is_an_answer_and_the_rest_goes_on(url: str, sessions: InMemory) -> None:
    with line(url) as socket:
        opened(socket)
        sessions.refuse.append(BusyError("too many chunks wait.", retry_after=0.1))
        socket.send(chunk(0))
        socket.send(chunk(1))
        socket.send(chunk(0))
        answers = [hear(socket) for _ in range(3)]
        assert [m.kind for m in answers] == ["error", "error", "reply"]
        assert [m.fields["code"] for m in answers[:2]] == ["busy", "chunk_gap"]
        assert answers[0].fields["retry_after"] == 0.1


def test_a_dropped_socket_leaves_nothing_behind(url: str, sessions: InMemory, model, tokenizer) -> None:
    with served(sessions) as url:
        for n in range(5):
            with line(url) as socket:
                opened(socket)
                for seq in range(n):
                    socket.send(chunk(seq))
                socket.socket.shutdown(2)  # without a word
        eventually(lambda: _sockets(url) == 0)
        assert len(sessions.held) == 5  # the sessions wait for their writers


def _sockets(url: str) -> float:
    import httpx

    text = httpx.get(url.replace("ws", "http", 1) + "/metrics").text
    return next(float(row.split()[1]) for row in text.splitlines() if row.startswith("tml_sockets "))
