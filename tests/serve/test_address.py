"""Addresses and tokens as a class copies them, and servers that are not there or are something else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.serve.loopback import served
from tests.serve.test_launch import certificate
from tml_lab.serve import client, launch
from tml_lab.serve.address import WrongServerError, read_address, read_token
from tml_lab.serve.app import create_app
from tml_lab.serve.client import RemoteSessions, UnreachableError
from tml_lab.serve.contract import Opened, ServeError
from tml_lab.serve.gate import Settings

__all__ = ["certificate"]
TOKEN = "a-token-for-this-class"
PATIENCE = 60


class Opens:
    """Sessions that can be opened, and no more."""

    def open(self, seed: int = 0, attention: tuple[int, int] | None = None) -> Opened:
        return Opened("one", "key", 0)


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TML_TOKEN", raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    with served(Opens(), Settings(tokens=(TOKEN,))) as url:
        yield url


@pytest.mark.parametrize(
    ("written", "token"),
    [
        ("{ws}", TOKEN), ("{ws}/", TOKEN), (" {ws}/\n", TOKEN), ("{http}", f"{TOKEN}\n"), ("{http}/", f" {TOKEN} "),
        ("{http}/#token={token}", None), ("{ws}?token={token}", None), ("{ws}/#token={token}\n", ""),
    ],
)  # fmt: skip
def test_a_link_may_be_copied_in_any_way(url: str, written: str, token: str | None) -> None:
    with RemoteSessions(written.format(ws=url, http=url.replace("ws", "http"), token=TOKEN), token) as remote:
        assert remote.open().writer == "key"


@pytest.mark.parametrize(
    "wrong",
    ["localhost:8321", "http//h:1", "http:/h:1", "ftp://h", "teacher", "", "ws://", "ws://h:99999", "ws://h:port",
     "ws://[::1", "ws://my laptop:8321", "<ws://h:1>", "ws://h:1\"", 12],
)  # fmt: skip
def test_what_is_no_address_is_said_at_once(wrong: str) -> None:
    with pytest.raises(ServeError, match=r"is no address of a server: it looks like ws://host:8321"):
        read_address(wrong)


def test_a_token_that_cannot_be_one_is_said_at_once() -> None:
    for wrong in ("t\u00f6ken", "two\nlines", "\u201cquoted\u201d"):
        with pytest.raises(ServeError, match="copy it again"):
            read_token(wrong)
    assert read_token(None) is read_token(" \n") is None


def test_tls_on_one_side_only_is_said(
    url: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        RemoteSessions(url.replace("ws", "wss"), TOKEN, patience=PATIENCE) as remote,
        pytest.raises(WrongServerError, match="without TLS: write ws:// in place of wss://"),
    ):
        remote.open()
    monkeypatch.setattr(client, "FIRST_SECONDS", 0.1)
    listener = launch.bind("127.0.0.1", 0)
    cert, key = map(str, certificate)
    server = launch.Server(
        launch.uvicorn_config(create_app(Opens()), Settings(), ssl_certfile=cert, ssl_keyfile=key)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    plain = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    with (
        RemoteSessions(plain, patience=PATIENCE) as remote,
        pytest.raises(UnreachableError, match="is it wss:// in place of ws://"),
    ):
        remote.open()
    server.should_exit = True
    thread.join(PATIENCE)


def test_a_server_that_never_answered_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_SECONDS", 0.1)

    def refused(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    with (
        RemoteSessions("ws://127.0.0.1:9", patience=3600) as remote,
        pytest.raises(UnreachableError, match="the machine is there; is the port right"),
    ):
        remote.open()
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    with (
        RemoteSessions("ws://techer.local:8321", patience=3600) as remote,
        pytest.raises(UnreachableError, match=r"no machine named techer\.local is known here"),
    ):
        remote.open()


@pytest.mark.parametrize("status", [200, 302, 403, 404, 405])
def test_another_server_at_that_address_is_recognised(status: int) -> None:
    """JupyterLab on the port that was meant for ours; the page of a hotel's network."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>Hello</p>")

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with HTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        said = rf"is no session server of the lab \(status {status}\)"
        url = f"ws://127.0.0.1:{other.server_port}"
        with RemoteSessions(url, patience=PATIENCE) as remote, pytest.raises(ServeError, match=said):
            remote.open()
        other.shutdown()


def test_a_path_too_many_is_said(url: str) -> None:
    with RemoteSessions(f"{url}/lab/tree", TOKEN) as remote, pytest.raises(ServeError, match="no session server"):
        remote.open()


def test_the_page_behind_the_link_says_what_to_write(url: str) -> None:
    import httpx

    page = httpx.get(url.replace("ws", "http"))
    assert page.status_code == 200 and TOKEN not in page.text and json.dumps("token") in page.text
