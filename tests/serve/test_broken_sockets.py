"""Sockets that break at any point of a message, replies that say "later", a server that starts anew: nothing is lost,
nothing is done twice, and what comes is to the bit what it would have been."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serve.in_memory import InMemory
from tests.serve.loopback import Way, eventually, served
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve import back_off as waiting
from tml_lab.serve import client
from tml_lab.serve.client import RemoteSessions, UnreachableError
from tml_lab.serve.contract import (
    Append,
    BusyError,
    ChunkGapError,
    NoSessionError,
    NotAllowedError,
    ServeError,
    TooLongError,
)
from tml_lab.serve.gate import Settings
from tml_lab.serve.messages import append_message
from tml_lab.stream.session import Session

PATIENCE = 60
CHUNK = len(append_message(Append(0, np.zeros(3200, np.float32))))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST", 0.05)


@pytest.fixture
def sessions(model: InteractionModel, tokenizer: TextTokenizer) -> InMemory:
    return InMemory(model, tokenizer)


@pytest.fixture
def way(sessions: InMemory) -> Iterator[Way]:
    with served(sessions) as url:
        way = Way(int(url.rsplit(":", 1)[1]))
        yield way
        way.close()


@pytest.fixture
def alone(model: InteractionModel, tokenizer: TextTokenizer) -> Callable[[int], list[bytes]]:
    """The sound that a session by itself makes of the chunks 0, 1, ..."""

    def run(turns: int) -> list[bytes]:
        session = Session(model, tokenizer)
        return [session.step(chunk(n).audio).audio.tobytes() for n in range(turns)]

    return run


def chunk(seq: int, **more: Any) -> Append:
    return Append(seq, np.random.default_rng(seq).standard_normal(3200).astype(np.float32) / 6, **more)


HANDSHAKE = 250  # bytes, about, before the first message
CUTS = [
    *({"up": at} for at in (0, 1, 100)),  # before, and in, the handshake
    *({"up": HANDSHAKE + at} for at in (0, 60, 150, 200)),  # in `resume`, between it and the first chunk
    *({"up": HANDSHAKE + n * CHUNK // 4} for n in range(1, 14, 2)),  # at each quarter of three chunks
    *({"down": at} for at in (0, 1, 100, 200, 250, 300, 400)),  # in the handshake, in `opened`, in the first reply
    *({"down": 400 + n * CHUNK // 4} for n in range(1, 14, 2)),  # in the replies
]


def test_a_socket_may_break_at_any_point(way: Way, sessions: InMemory, alone: Callable[[int], list[bytes]]) -> None:
    expected, before = alone(6), 0
    for cut in CUTS:
        with RemoteSessions(way.url, patience=PATIENCE) as remote:
            opened = remote.open()
            remote._http.close()  # its connection would be the next to be cut
            way.cut(**cut)
            futures = [remote.append(opened.id, opened.writer, chunk(n)) for n in range(6)]
            replies = [future.result(PATIENCE) for future in futures]
        assert way.connections >= (before := before + 3), cut  # for the opening, and for the two sockets
        before = way.connections
        assert [reply.seq for reply in replies] == list(range(6)), cut
        assert [reply.turn.audio.tobytes() for reply in replies] == expected, cut
        assert sessions.held[opened.id.partition("@")[0]].session.turn == 6, cut


def test_a_socket_that_breaks_again_and_again(way: Way, sessions: InMemory, alone) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        opened = remote.open()
        rng = np.random.default_rng(5)
        for n in rng.integers(200, 3 * CHUNK, 12):
            way.cut(**({"up": int(n)} if n % 2 else {"down": int(n)}))
        futures = [remote.append(opened.id, opened.writer, chunk(n)) for n in range(20)]
        assert [future.result(PATIENCE).turn.audio.tobytes() for future in futures] == alone(20)
        assert remote._lines[opened.id].dials > 3
    assert sessions.held[opened.id.partition("@")[0]].session.turn == 20


def test_doubled_and_reordered_chunks(way: Way, sessions: InMemory, alone) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        opened = remote.open()
        send = lambda n: remote.append(opened.id, opened.writer, chunk(n))  # noqa: E731
        sessions.gate.clear()
        first, twin = send(0), send(0)  # while it is on its way
        sessions.gate.set()
        assert first.result(PATIENCE).turn.turn == twin.result(PATIENCE).turn.turn == 0
        again = send(0).result(PATIENCE)  # and long after
        assert again.again and again.turn.audio.tobytes() == alone(1)[0]
        with pytest.raises(ChunkGapError) as gap:
            send(2).result(PATIENCE)
        assert gap.value.expected == 1
        assert [send(n).result(PATIENCE).turn.turn for n in (1, 2)] == [1, 2]
        lost = remote.append(opened.id, opened.writer, chunk(5, lost=2)).result(PATIENCE)
        assert [turn.turn for turn in lost.gaps] == [3, 4] and lost.turn.turn == 5


def test_later_is_no_error_and_the_order_stays(way: Way, sessions: InMemory, alone) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        opened = remote.open()
        remote.append(opened.id, opened.writer, chunk(0)).result(PATIENCE)
        sessions.refuse += [BusyError("too many chunks wait.", retry_after=0.01)] * 3
        futures = [remote.append(opened.id, opened.writer, chunk(n)) for n in range(1, 10)]
        replies = [future.result(PATIENCE) for future in futures]
        assert [reply.turn.audio.tobytes() for reply in replies] == alone(10)[1:]
        assert not any(reply.again for reply in replies)


@pytest.mark.parametrize("error", [NoSessionError("it was closed."), TooLongError("the session is full.")])
def test_what_cannot_be_helped_is_said_at_once(way: Way, sessions: InMemory, error: ServeError) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        opened = remote.open()
        sessions.refuse.append(error)
        with pytest.raises(type(error), match=str(error)):
            remote.append(opened.id, opened.writer, chunk(0)).result(PATIENCE)
        assert remote.append(opened.id, opened.writer, chunk(0)).result(PATIENCE).turn.turn == 0


def test_a_server_that_lost_the_newest_turns_gets_them_again(way: Way, sessions: InMemory, alone) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        opened = remote.open()
        for n in range(4):
            remote.append(opened.id, opened.writer, chunk(n)).result(PATIENCE)
        held = sessions.held[opened.id.partition("@")[0]]  # as after kill -9: it came back at turn 2
        held.session, held.expected = held.session.fork(2), 2
        held.replies = {n: held.replies[n] for n in (0, 1)}
        assert remote.append(opened.id, opened.writer, chunk(4)).result(PATIENCE).turn.audio.tobytes() == alone(5)[4]
        assert held.session.turn == 5


def test_a_server_that_starts_anew(model, tokenizer, alone) -> None:
    sessions = InMemory(model, tokenizer)
    stop, ready = threading.Event(), threading.Event()
    where: list[str] = []

    def lives() -> None:
        with served(sessions) as url:
            where.append(url)
            ready.set()
            assert stop.wait(PATIENCE)

    first = threading.Thread(target=lives)
    first.start()
    assert ready.wait(PATIENCE)
    way = Way(int(where[0].rsplit(":", 1)[1]))
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        opened = remote.open()
        assert remote.append(opened.id, opened.writer, chunk(0)).result(PATIENCE).turn.turn == 0
        stop.set()
        first.join(PATIENCE)
        futures = [remote.append(opened.id, opened.writer, chunk(n)) for n in (1, 2)]
        with served(sessions) as url:
            way.port = int(url.rsplit(":", 1)[1])
            assert [future.result(PATIENCE).turn.audio.tobytes() for future in futures] == alone(3)[1:]
            assert remote.info(opened.id).turns == 3
    way.close()


def test_unreachable_wrong_token_and_full_are_sentences(model, tokenizer, monkeypatch) -> None:
    monkeypatch.delenv("TML_TOKEN", raising=False)
    with RemoteSessions("ws://127.0.0.1:9", patience=0.1) as remote:
        with pytest.raises(UnreachableError, match=r"nothing answers at http://127\.0\.0\.1:9"):
            remote.open()
        with pytest.raises(UnreachableError, match="could not be reached"):
            remote.append("x", "y", chunk(0)).result(PATIENCE)
    with served(InMemory(model, tokenizer, most=1), Settings(tokens=("right-token",))) as url:
        with RemoteSessions(url, "wrong-token", patience=PATIENCE) as remote:
            with pytest.raises(NotAllowedError, match="wants a token"):
                remote.open()
            with pytest.raises(NotAllowedError, match="wants a token"):
                remote.append("x", "y", chunk(0)).result(PATIENCE)
        link = url.replace("ws", "http", 1) + "/#token=right-token"  # as it is printed for a class
        with RemoteSessions(link, patience=0.1) as remote:
            opened = remote.open()
            with pytest.raises(BusyError, match="1 sessions already"):
                remote.open()
            with pytest.raises(NotAllowedError, match="key"):
                remote.append(opened.id, "guessed", chunk(0)).result(PATIENCE)
            with pytest.raises(NoSessionError):
                remote.append("nobody", "y", chunk(0)).result(PATIENCE)
            monkeypatch.setenv("TML_TOKEN", "right-token")
            with RemoteSessions(url, patience=PATIENCE) as other:
                assert other.info(opened.id).turns == 0
    for address in ("localhost:8321", "ftp://x", "", "ws://"):
        with pytest.raises(ServeError, match="no address of a server"):
            RemoteSessions(address)


def test_an_opening_whose_answer_is_lost_opens_one_session(way: Way, sessions: InMemory) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as remote:
        way.cut(down=5)
        opened = remote.open()
        assert list(sessions.held) == [opened.id.partition("@")[0]]
        assert way.connections == 2


def test_a_second_writer_is_told_and_does_not_fight(way: Way, sessions: InMemory) -> None:
    with RemoteSessions(way.url, patience=PATIENCE) as one, RemoteSessions(way.url, patience=PATIENCE) as two:
        opened = one.open()
        one.append(opened.id, opened.writer, chunk(0)).result(PATIENCE)
        sessions.gate.clear()
        behind = one.append(opened.id, opened.writer, chunk(1))
        eventually(lambda: sessions.held[opened.id.partition("@")[0]].expected == 2)
        ahead = two.append(opened.id, opened.writer, chunk(2))
        with pytest.raises(NotAllowedError, match="another connection writes"):
            behind.result(PATIENCE)
        sessions.gate.set()
        assert ahead.result(PATIENCE).turn.turn == 2


def test_after_hanging_up_nothing_is_left(way: Way) -> None:
    remote = RemoteSessions(way.url, patience=PATIENCE)
    opened = remote.open()
    remote.append(opened.id, opened.writer, chunk(0)).result(PATIENCE)
    remote.hang_up()
    remote.hang_up()
    with pytest.raises(ServeError, match="hung up"):
        remote.append(opened.id, opened.writer, chunk(1))
    with pytest.raises(ServeError, match="hung up"):
        remote.info(opened.id)
    assert "tml-remote" not in {thread.name for thread in threading.enumerate()}
    assert httpx.get(way.url.replace("ws", "http", 1) + "/health").status_code == 200


def test_closing_does_not_wait_long_for_a_server_that_is_gone(model, tokenizer, monkeypatch) -> None:
    monkeypatch.setattr(client, "CLOSE_SECONDS", 0.2)
    with served(InMemory(model, tokenizer)) as url:
        remote = RemoteSessions(url, patience=PATIENCE)
        opened = remote.open()
    with remote, pytest.raises(UnreachableError, match="nothing answers"):
        remote.close(opened.id, opened.writer)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_a_server_is_waited_for(status: int) -> None:
    opened = {"session_id": "x", "writer": "y", "expected": 3}
    answers = [httpx.Response(status, text="down"), httpx.Response(200, json=opened)]
    with RemoteSessions("ws://127.0.0.1:9", patience=PATIENCE) as remote:
        remote._http._transport = httpx.MockTransport(lambda request: answers.pop(0))
        assert remote.open().expected == 3 and not answers


def test_a_full_server_says_so_at_once_and_a_waking_one_is_waited_for() -> None:
    def busy(seconds: float, sentence: str) -> httpx.Response:
        return httpx.Response(429, json={"code": "busy", "sentence": sentence, "status": 429, "retry_after": seconds})

    opened = httpx.Response(200, json={"session_id": "x", "writer": "y", "expected": 0})
    answers = [busy(0.01, "the model is being loaded."), opened, busy(10.0, "64 sessions are open.")]
    with RemoteSessions("ws://127.0.0.1:9", patience=3600) as remote:
        remote._http._transport = httpx.MockTransport(lambda request: answers.pop(0))
        assert remote.open().expected == 0
        with pytest.raises(BusyError, match="64 sessions are open"):
            remote.open()
    assert not answers
