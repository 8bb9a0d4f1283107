"""A server that ends while its callers are at the end of their own connections."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from tests.serve.in_memory import InMemory
from tests.serve.test_launch import certificate
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve import launch
from tml_lab.serve.app import create_app
from tml_lab.serve.gate import Settings

__all__ = ["certificate"]
PATIENCE = 60


def test_a_caller_who_says_goodbye_as_the_server_ends_does_not_break_it(
    model: InteractionModel, tokenizer: TextTokenizer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS a connection outlives its WebSocket until the other side agrees; this caller never does."""
    monkeypatch.setattr(launch, "GRACE", 1)
    listener = launch.bind("127.0.0.1", 0)
    cert, key = certificate
    app = create_app(InMemory(model, tokenizer), Settings())
    config = launch.uvicorn_config(app, Settings(), ssl_certfile=str(cert), ssl_keyfile=str(key))
    server, ended = launch.Server(config), []

    def run() -> None:
        try:
            server.run(sockets=[listener])
            ended.append("well")
        except Exception as error:
            ended.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(cert))
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.settimeout(PATIENCE)
        line = trusting.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=True)
        caller = ClientProtocol(parse_uri(f"wss://localhost:{port}/stream"))
        caller.send_request(caller.connect())
        say(line, caller)
        while caller.state.name == "CONNECTING":
            caller.receive_data(line.recv(4096))
        caller.send_close()
        say(line, caller)
        while caller.close_rcvd is None:
            caller.receive_data(line.recv(4096))
        server.should_exit = True
        thread.join(PATIENCE)
        assert ended == ["well"]
        with suppress(OSError):
            line.close()


def say(line: ssl.SSLSocket, caller: ClientProtocol) -> None:
    for data in caller.data_to_send():
        line.sendall(data)
