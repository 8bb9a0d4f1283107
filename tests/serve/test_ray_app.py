"""Two local replicas behind one address: each session stays with its own. Skipped without Ray."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.serve.loopback import eventually
from tests.serve.scene import assert_same, chunk, step_alone
from tml_lab.model.checkpoint import load_checkpoint, new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.client import RemoteSessions
from tml_lab.serve.contract import NoSessionError, NotAllowedError
from tml_lab.serve.session import Session as AnySession
from tml_lab.stream.session import Session

ray = pytest.importorskip("ray")
serve = pytest.importorskip("ray.serve")

pytestmark = pytest.mark.slow
TOKEN, PATIENCE = "a-token-for-this-class", 120
SESSIONS = 8


@pytest.fixture(scope="module")
def pico(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pico")
    tokenizer = TextTokenizer.build(["one", "two"])
    save_checkpoint(folder, new_model("pico", tokenizer, seed=3), tokenizer, {})
    return folder


@pytest.fixture(scope="module")
def url(pico: Path) -> Iterator[str]:
    from tml_lab.serve.ray_app import build

    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # a busy machine: its parts wait for each other for 15 s and no longer
        ray.shutdown()
        pytest.skip(f"Ray does not start here: {error}")
    try:
        port = _free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(build(checkpoint=str(pico), replicas=2, cores=0.5, token=TOKEN), name="tml")
        yield f"ws://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def _free_port() -> int:
    """Ray Serve does not tell which port it took when it is asked for any (0)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_each_session_stays_with_its_replica(url: str, pico: Path) -> None:
    model, tokenizer = load_checkpoint(pico)
    with RemoteSessions(url, TOKEN, patience=PATIENCE) as remote:
        opened = [remote.open(seed) for seed in range(SESSIONS)]
        futures = [[remote.append(o.id, o.writer, chunk(n, seed)) for n in range(10)] for seed, o in enumerate(opened)]
        for seed, replies in enumerate(futures):
            alone = Session(model, tokenizer, seed)
            for n, reply in enumerate(replies):
                assert_same(reply.result(PATIENCE).turn, step_alone(alone, chunk(n, seed)))
        for one in opened:
            assert remote.info(one.id).turns == 10
            assert remote.recording(one.id).turns == 10
        # Both have some: asked at another place, a session is often not known.
        known = 0
        for n in range(24):
            name = opened[0].id.partition("@")[0]
            with suppress(NoSessionError):
                known += remote.info(f"{name}@elsewhere-{n}").turns == 10
        assert 0 < known < 24
        twin = remote.fork(opened[0].id, 3)
        assert remote.append(twin.id, twin.writer, chunk(3)).result(PATIENCE).turn.turn == 3
        for one in [*opened, twin]:
            remote.close(one.id, one.writer)


def test_a_socket_that_is_lost_is_dialled_to_the_same_replica(url: str) -> None:
    with AnySession.connect(url, TOKEN, patience=PATIENCE) as session:
        for n in range(3):
            session.step(chunk(n).audio)
        line = next(iter(session._connection._lines.values()))
        session._connection._in_loop(lambda: [task.cancel() for task in [line._task]])
        eventually(lambda: line._task.done())
        assert session.step(chunk(3).audio).turn == 3 and line.dials == 2
    with pytest.raises(NotAllowedError, match="wants a token"):
        AnySession.connect(url, "wrong-token", patience=PATIENCE)
