"""`tml serve` as a process: it listens at once, ends cleanly, keeps its sessions, and says in a sentence why not."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.serve.loopback import served
from tests.serve.scene import assert_same, chunk, step_alone
from tml_lab.cli import app
from tml_lab.model.checkpoint import CheckpointError, load_checkpoint, new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.engine import Engine
from tml_lab.serve.launch import bind, check_certificate, limits_of, make_engine, serve
from tml_lab.serve.limits import Limits
from tml_lab.serve.session import Session
from tml_lab.serve.waking import Waking
from tml_lab.stream.policy import policy_of
from tml_lab.stream.session import Session as Alone
from tml_lab.stream.turn_result import TurnResult
from tml_lab.worlds.remembered import usual_policy

PATIENCE = 60
TOKEN = "a-token-for-this-class"


@pytest.fixture(scope="session")
def pico(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("pico")
    tokenizer = TextTokenizer.build(["one", "two"])
    save_checkpoint(folder, new_model("pico", tokenizer, seed=3), tokenizer, {})
    return folder


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    try:
        subprocess.run(
            [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def running(*arguments: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`tml serve` in a process of its own, and the lines that it said so far."""
    command = [sys.executable, "-m", "tml_lab.cli", "serve", *([] if "--port" in arguments else ["--port", "0"])]
    command += map(str, arguments)
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline()]
        yield server, lines
    finally:
        server.kill()
        server.communicate()


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address(line: str) -> str:
    found = re.search(r"wss?://\S+", line)
    assert found, line
    return found.group()


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        ([], Limits()),
        (["--max-sessions", "3", "--threads", "2"], Limits(sessions=3, threads=2)),
        (["--max-minutes", "90", "--idle-minutes", "5", "--max-gb", "1.5"],
         Limits(seconds=5400.0, idle=300.0, memory=1_500_000_000)),
    ],
    ids=["none", "sessions-threads", "minutes-memory"],
)  # fmt: skip
def test_what_is_asked_for_becomes_the_engines_limits(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], limits: Limits
) -> None:
    made = []
    monkeypatch.setattr("tml_lab.serve.launch.make_engine", lambda *of: made.append(of))
    monkeypatch.setattr("tml_lab.serve.launch._run", lambda *of: of[4]())
    ran = CliRunner().invoke(app, ["serve", "--port", "0", "--checkpoint", "nano", *asked])
    assert ran.exit_code == 0 and made == [("nano", None, limits, None)], ran.output


def test_the_engine_computes_with_one_thread(pico: Path, own_threads: Any) -> None:
    """`--threads` shares out the sessions' turns; torch itself has one thread, whatever is asked for."""
    torch.set_num_threads(2)
    with make_engine(str(pico), None, limits_of({"sessions": None, "threads": 2})) as engine:
        assert engine.limits == Limits(threads=2)
        assert torch.get_num_threads() == 1
        opened = engine.open()
        assert policy_of(engine.recording(opened.id).policy) == usual_policy()  # as a recording says of the session


@pytest.fixture
def own_threads() -> Iterator[None]:
    """Torch's own threads, put back afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_it_listens_serves_and_ends_on_sigterm(pico: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", pico, "--folder", tmp_path / "kept", "--max-sessions", 2, "--threads", 2)
    with running(*options, TML_TOKEN=TOKEN) as (server, lines):
        url = address(lines[0])
        assert lines[0].startswith("tml serve listens on ws://127.0.0.1:") and TOKEN not in lines[0]
        session = Session.connect(url, TOKEN)
        turns = [session.step(chunk(n).audio) for n in range(3)]
        key = session.key
        session._connection.hang_up()
        server.send_signal(signal.SIGTERM)
        out, log = server.communicate(timeout=PATIENCE)
        assert (server.returncode, out) == (0, "")
        assert [json.loads(line)["event"] for line in log.splitlines()][-1] == "ended"
        assert TOKEN not in log and key[1] not in log
    with running(*options, "--token", TOKEN) as (server, lines), Session.connect(
        address(lines[0]), TOKEN, resume=key
    ) as session:
        assert session.turn == 3
        turns.append(session.step(chunk(3).audio))
        assert np.array_equal(session.recording().audio_out, np.concatenate([turn.audio for turn in turns]))


@pytest.mark.slow
def test_a_class_whose_server_is_killed_notices_only_the_wait(pico: Path, tmp_path: Path) -> None:
    """kill -9 of the server's process under four learners; another one on the same port and folder goes on."""
    learners, before, after = 4, 6, 8  # turns that each has at least
    port = free_port()
    options = ("--checkpoint", pico, "--folder", tmp_path / "kept", "--port", port)
    results: dict[int, list[TurnResult]] = {who: [] for who in range(learners)}
    gaps, later = dict.fromkeys(results, 0), dict.fromkeys(results, 0)
    far, back = threading.Semaphore(0), threading.Event()

    def learn(who: int) -> None:
        with Session.connect(f"ws://127.0.0.1:{port}", TOKEN, seed=who, patience=PATIENCE) as session:
            for n in count():
                afterwards = back.is_set()
                given = chunk(n, who)
                results[who].append(session.step(given.audio, given.frames, given.text))
                assert session.last is not None
                gaps[who] += len(session.last.gaps)
                later[who] += afterwards
                if n == before:
                    far.release()
                if later[who] == after:
                    return

    with ThreadPoolExecutor(learners) as pool:
        with running(*options, "--token", TOKEN) as (server, _):
            class_ = [pool.submit(learn, who) for who in range(learners)]
            for _ in range(learners):
                assert far.acquire(timeout=PATIENCE)
            server.send_signal(signal.SIGKILL)
            server.wait(PATIENCE)
        back.set()
        with running(*options, "--token", TOKEN):
            for learner in class_:
                learner.result(PATIENCE)
    model, tokenizer = load_checkpoint(pico)
    for who, found in results.items():
        alone = Alone(model, tokenizer, seed=who, policy=usual_policy())
        assert gaps[who] == 0  # what the killed server had not kept, the learner's side sent once more
        for n, turn in enumerate(found):
            assert_same(turn, step_alone(alone, chunk(n, who)))


@pytest.mark.slow
def test_for_other_machines_there_is_tls_and_a_token_that_is_shown_once(
    pico: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    options = ("--checkpoint", pico, "--host", "0.0.0.0", "--certfile", cert, "--keyfile", key)
    with running(*options, TML_TOKEN="") as (server, lines):
        assert server.stdout is not None
        lines.append(server.stdout.readline())
        link = re.search(r"https://\S+#token=(\S+)", lines[1])
        assert address(lines[0]).startswith("wss://") and link and len(link.group(1)) == 32
        local = f"https://127.0.0.1:{address(lines[0]).rsplit(':', 1)[1]}"
        with pytest.raises(ValueError, match="not one that is trusted here"):
            Session.connect(local)
        with pytest.raises(ValueError, match="wants a token"):
            Session.connect(local, certificate=cert)
        with Session.connect(f"{local}/#token={link.group(1)}", certificate=cert) as session:
            assert session.step(chunk(0).audio).turn == 0
        server.send_signal(signal.SIGINT)
        _, log = server.communicate(timeout=PATIENCE)
        assert server.returncode == 0 and "Traceback" not in log, log
        assert link.group(1) not in log


def test_why_it_does_not_start_is_a_sentence(pico: Path, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    taken = bind("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(ValueError, match=f"port {port} of 127.0.0.1 is taken: choose another"):
        serve(str(pico), port=port)
    taken.close()
    with pytest.raises(ValueError, match=r"no address 'nowhere\.invalid'"):
        serve(str(pico), host="nowhere.invalid")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors in .*nothing"):
        serve(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="no policy of memory is called 'elephant'"):
        serve(str(pico), policy="elephant")
    with pytest.raises(ValueError, match="at least 8 plain characters"):
        serve(str(pico), tokens=["short"])
    cert, key = certificate
    for files, said in [
        ((tmp_path / "none.pem", None), "there is no file"),
        ((None, key), "needs the --certfile"),
        ((cert, None), "is no certificate that can be used"),
        ((key, cert), "is no certificate that can be used"),
    ]:
        with pytest.raises(ValueError, match=said):
            check_certificate(*files)
    with socket.socket() as listener:  # nothing was left listening
        listener.bind(("127.0.0.1", port))


@pytest.mark.slow
def test_a_checkpoint_that_breaks_while_it_is_loaded_ends_the_server(tmp_path: Path, pico: Path) -> None:
    for file in pico.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with running("--checkpoint", tmp_path) as (server, _):
        _, log = server.communicate(timeout=PATIENCE)
        assert server.returncode == 1
        assert "cannot be read" in log.splitlines()[-1] and "Traceback" not in log


def test_while_it_wakes_callers_are_asked_to_come_back() -> None:
    ready = threading.Event()

    class Awake:
        def info(self, id: str) -> str:
            return f"{id} is well"

    def make() -> Any:
        assert ready.wait(PATIENCE)
        return Awake()

    waking = Waking(make)
    info = waking.sessions.info
    with pytest.raises(ValueError, match="being loaded"):
        info("x")
    assert waking.waking
    ready.set()
    waking.wait(PATIENCE)
    assert info("x") == waking.sessions.info("x") == "x is well"


def test_a_notebook_does_not_know_where_its_model_runs(pico: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TML_SERVER", raising=False)
    with pytest.raises(ValueError, match="set TML_SERVER"):
        Session.connect()
    given = [chunk(n) for n in range(6)]
    with Engine(*load_checkpoint(pico), limits=Limits(shed=False)) as engine, served(engine) as url:
        results = []
        for server in (None, url):
            monkeypatch.delenv("TML_TOKEN", raising=False)
            if server is not None:
                monkeypatch.setenv("TML_SERVER", server)
            with Session.start(str(pico), seed=5, attention=(1, 1)) as session:
                assert (session._connection is None) == (server is None)
                turns = [session.step(one.audio, one.frames, one.text) for one in given[:3]]
                session.attention = None
                turns.append(session.step(given[3].audio))
                futures = [session.append(one.audio) for one in given[4:]]
                turns += [future.result(PATIENCE).turn for future in futures]
                assert session.turn == 6
                twin = session.fork(at=2)
                turns.append(twin.step(given[5].audio))
                with pytest.raises(ValueError, match="float32"):
                    session.step(np.zeros(3200))
                results.append((turns, session.recording()))
    (here, recorded), (there, downloaded) = results
    for one, other in zip(here, there, strict=True):
        assert (one.turn, one.decision, one.p_speak) == (other.turn, other.decision, other.p_speak)
        assert one.audio.tobytes() == other.audio.tobytes()
        assert (one.attention is None) == (other.attention is None)
    assert np.array_equal(recorded.p_speak, downloaded.p_speak)
    assert np.array_equal(recorded.audio_out, downloaded.audio_out)
    assert np.array_equal(recorded.attention.lag, downloaded.attention.lag)
