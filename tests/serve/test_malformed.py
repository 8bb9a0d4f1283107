"""Thousands of messages that are none: no crash, no leak, and nobody beside them is disturbed.

TML_FUZZ=10000 sends so many to each side; by default it is a tenth.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.serve.loopback import at_work, eventually, served
from tests.serve.scene import Clock, chunk
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.client import RemoteSessions
from tml_lab.serve.contract import Opened
from tml_lab.serve.engine import Engine
from tml_lab.serve.gate import Settings
from tml_lab.serve.limits import Limits
from tml_lab.serve.messages import append_message
from tml_lab.serve.wire import MEDIA_TYPE, Message, pack, unpack
from tml_lab.stream.session import Session

MANY = int(os.environ.get("TML_FUZZ", "1000"))
PATIENCE = 60
FUZZ = settings(
    max_examples=MANY, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
TOKEN = "a-token-for-this-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPEN = Settings((TOKEN,), calls=1e9, burst=1e9, chunks=1e9, chunk_burst=1e9, guesses=1e9)


@dataclass
class Beside:
    """A good session that goes on all the while."""

    remote: RemoteSessions
    opened: Opened
    sounds: list[bytes] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    quiet: threading.Lock = field(default_factory=threading.Lock)  # held while its turn runs

    def run(self) -> None:
        while not self.stop.is_set():
            n = len(self.sounds)
            with self.quiet:
                reply = self.remote.append(self.opened.id, self.opened.writer, chunk(n)).result(PATIENCE)
            assert reply.turn.turn == n and not reply.again
            self.sounds.append(reply.turn.audio.tobytes())
            self.stop.wait(0.05)


@dataclass
class Stage:
    url: str
    engine: Engine
    clock: Clock
    beside: Beside
    http: httpx.Client

    def opened(self) -> dict[str, Any]:
        """A session to be pestered."""
        return self.http.post("/open_session", json={}).json()

    def let_expire(self) -> None:
        """The time of all sessions but the good one, which is not idle, is over."""
        self.clock.pass_by(30)
        turns = len(self.beside.sounds)
        eventually(lambda: len(self.beside.sounds) > turns + 1)
        self.clock.pass_by(40)
        self.engine.sweep()


@pytest.fixture(scope="module")
def stage(model: InteractionModel, tokenizer: TextTokenizer) -> Iterator[Stage]:
    clock = Clock()
    limits = Limits(sessions=16, lost=3, idle=60, shed=False)  # the clock jumps: a chunk that waits then is not late
    with Engine(model, tokenizer, limits=limits, clock=clock) as engine:
        with served(engine, OPEN) as url, RemoteSessions(url, TOKEN, patience=PATIENCE) as remote:
            beside = Beside(remote, remote.open(seed=4))
            thread = threading.Thread(target=beside.run, name="beside")
            thread.start()
            with httpx.Client(base_url=url.replace("ws", "http", 1), headers=BEARER, timeout=PATIENCE) as http:
                yield Stage(url, engine, clock, beside, http)
            beside.stop.set()
            thread.join(PATIENCE)
        alone = Session(model, tokenizer, seed=4)
        assert len(beside.sounds) > 5
        for n, sound in enumerate(beside.sounds):
            given = chunk(n)
            assert alone.step(given.audio, given.frames, given.text).audio.tobytes() == sound, n


SERVER = ("tml_lab.", "starlette.", "fastapi.", "uvicorn.", "websockets.", "h11.", "asyncio.", "_asyncio")


def held(stage: Stage) -> Counter[str]:
    """What is alive of the server's kinds; hypothesis, which remembers all it tried, is not counted.

    Nobody's turn runs meanwhile: Python cannot finish a tuple that somebody else holds, and here all are held.
    """
    with stage.beside.quiet:
        gc.collect()
        kinds = (type(thing) for thing in gc.get_objects())
        return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(SERVER))


@pytest.fixture
def leakless(stage: Stage) -> Iterator[None]:
    process = psutil.Process()
    stage.http.get("/health")
    files, before = process.num_fds(), held(stage)
    yield
    stage.let_expire()
    assert stage.engine.stats().sessions == 1
    eventually(lambda: at_work(stage.url) <= 4)  # the good one's two connections, this test's, and a task
    assert process.num_fds() <= files + 2
    grown = held(stage) - before
    # The good session keeps its last replies and chunks; of a thousand messages each would leave something.
    assert not {kind: n for kind, n in grown.items() if n > 150}, grown


VALID = append_message(chunk(0))
SMALL = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(max_size=20),
    st.lists(st.integers(-5, 2**40), max_size=5), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)  # fmt: skip
PARTS = st.lists(
    st.one_of(
        SMALL,
        st.tuples(
            st.sampled_from(["audio", "frames", "x", ""]),
            st.sampled_from(["f32", "s16", "u8", "sparse", "jpeg", "f64"]),
            st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 60, 80, 3200, 2**31, 2**70]), max_size=5),
        ).map(list),
    ),
    max_size=6,
)


@st.composite
def with_header(draw: st.DrawFn) -> bytes:
    """A header of any fields, with a length that may lie, and any body."""
    header = draw(st.dictionaries(st.sampled_from(["seq", "lost", "text", "sound", "session_id", "seed"]), SMALL))
    header["kind"] = draw(st.sampled_from(["append", "resume", "watch_attention", "session_info", "reply", "", 3]))
    header["parts"] = draw(PARTS)
    data = json.dumps(header).encode()
    length = draw(st.one_of(st.just(len(data)), st.integers(0, 2**32 - 1)))
    return b"TML1" + struct.pack("<I", length) + data + draw(st.binary(max_size=200))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good message with a piece of it replaced; where that piece is short and lies in the sound, a good one."""
    start = draw(st.one_of(st.integers(0, 120), st.integers(0, len(VALID))))
    return VALID[:start] + draw(st.binary(max_size=20)) + VALID[start + draw(st.integers(0, 40)) :]


MALFORMED = st.one_of(st.binary(max_size=100), with_header(), spoiled())


def test_malformed_bodies(stage: Stage, leakless: None) -> None:
    victim = stage.opened()
    seen: set[int] = set()

    @FUZZ
    @given(MALFORMED, st.booleans())
    def send(data: bytes, right: bool) -> None:
        headers = {"Writer-Key": victim["writer"] if right else "guessed"}
        name = victim["session_id"] if right else data.hex()[:20]
        response = stage.http.post("/append", params={"session_id": name}, content=data, headers=headers)
        seen.add(response.status_code)
        assert response.status_code in (200, 400, 404, 409, 413, 422, 429), response.text
        if response.status_code != 200:
            fields = response.json()
            assert set(fields) == {"code", "sentence", "status", "retry_after", "expected"}
            assert len(fields["sentence"].splitlines()) == 1

    send()
    assert {404, 422} <= seen


def test_malformed_messages_on_sockets(stage: Stage, leakless: None) -> None:
    line: list[ClientConnection] = []
    kinds: set[str] = set()

    def open_line() -> ClientConnection:
        if not line:
            line.append(connect(f"{stage.url}/stream", additional_headers=BEARER, compression=None, legacy=True))
            line[0].send(pack(Message("open_session")))
            opened = unpack(line[0].recv(PATIENCE))
            if opened.kind == "error":  # full: the time of those before is over
                assert opened.fields["code"] == "busy"
                stage.let_expire()
                line.pop().close()
                return open_line()
        return line[0]

    @FUZZ
    @given(MALFORMED, st.sampled_from(["in", "in", "in", "in", "first", "cut", "text"]))
    def send(data: bytes, how: str) -> None:
        if how == "first":  # instead of open_session
            with connect(f"{stage.url}/stream", additional_headers=BEARER, compression=None) as socket:
                socket.send(data)
                answer = unpack(socket.recv(PATIENCE), max_parts=100)
                assert answer.kind in ("error", "opened")
                if answer.kind == "error":
                    with pytest.raises(ConnectionClosed):
                        socket.recv(PATIENCE)
            return
        socket = open_line()
        socket.send(data.decode(errors="replace") if how == "text" else data)
        if how == "cut":
            line.clear()
            socket.socket.shutdown(2)
            return
        answer = unpack(socket.recv(PATIENCE), max_parts=100)  # exactly one
        kinds.add(answer.kind)
        assert answer.kind in ("error", "reply", "info", "done"), answer

    send()
    for socket in line:
        socket.close()
    assert {"error", "reply"} <= kinds


schemathesis.openapi.media_type(MEDIA_TYPE, MALFORMED)


@pytest.mark.slow
def test_the_schema_says_what_is_served(stage: Stage, leakless: None) -> None:
    base = stage.url.replace("ws", "http", 1)
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json", headers=BEARER)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.path for operation in operations} == {
        "/open_session", "/fork_session", "/append", "/watch_attention", "/close_session", "/session_info",
        "/recording", "/health", "/metrics",
    }  # fmt: skip
    few = settings(FUZZ, max_examples=max(20, MANY // (4 * len(operations))))
    for operation in operations:

        @few
        @given(case=operation.as_strategy(schemathesis.GenerationMode.POSITIVE))
        def right(case: Any) -> None:
            # A head that this model has not, a session that is no more: refused, but never for their form.
            response = case.call_and_validate(headers=BEARER, excluded_checks=[positive_data_acceptance])
            assert response.status_code != 422 or case.path == "/append", response.text

        @few
        @given(case=operation.as_strategy(schemathesis.GenerationMode.NEGATIVE))
        def wrong(case: Any) -> None:
            case.call_and_validate(headers=BEARER)

        right()
        if operation.path not in ("/health", "/metrics"):  # which take nothing
            wrong()
