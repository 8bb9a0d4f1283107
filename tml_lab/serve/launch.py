"""`tml serve`: bind the port, say where it listens, load the model meanwhile, end cleanly."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from tml_lab.serve.app import create_app
from tml_lab.serve.contract import Sessions
from tml_lab.serve.gate import LOOPBACK, Settings
from tml_lab.serve.json_lines import note, start_log, stop_log
from tml_lab.serve.limits import Limits
from tml_lab.serve.waking import Waking

if TYPE_CHECKING:
    from tml_lab.serve.engine import Engine

GRACE = 10  # seconds for requests under way when the server ends


def serve(
    checkpoint: str = "nano", host: str = "127.0.0.1", port: int = 8321, folder: Path | None = None,
    tokens: Sequence[str] = (), origins: Sequence[str] = (), certfile: Path | None = None,
    keyfile: Path | None = None, policy: str | None = None, say: Callable[[str], None] = print, **caps: float | None,
) -> None:  # fmt: skip
    """Serve sessions until SIGTERM or Ctrl-C.

    Args:
        checkpoint: a shipped name or a folder.
        host, port: where to listen; port 0: any free one.
        folder: sessions are kept there over a restart; None: they end with the server.
        tokens: any of these opens the door. None for another host than this machine itself: one is made and shown.
        origins: pages of these origins may come.
        certfile, keyfile: for TLS.
        policy: what new sessions remember by, one of `tml_lab.worlds.remembered.POLICIES`; None: the usual one.
        say: prints a line for the person who started it.
        caps: of `Limits`, by their names there (`sessions`, `threads`, `seconds`, ...); None: what stands there.

    Raises ValueError (CheckpointError among them), in one sentence, for a taken port, a bad certificate, a missing
    checkpoint.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it is loaded; each thread's own later on
    from tml_lab.model.checkpoint import find_checkpoint
    from tml_lab.worlds.remembered import usual_policy

    find_checkpoint(checkpoint)
    usual_policy(policy)  # a name that is unknown is said at once
    limits = limits_of(caps)
    check_certificate(certfile, keyfile)
    for token in tokens:
        _check_token(token)
    listener = bind(host, port)
    made = not tokens and host not in LOOPBACK
    settings = Settings((secrets.token_urlsafe(24),) if made else tuple(tokens), tuple(origins))
    handler = start_log()
    try:
        _run(listener, settings, certfile, keyfile,
             lambda: make_engine(checkpoint, folder, limits, policy),
             lambda: _announce(say, host, listener, settings, certfile is not None, made))  # fmt: skip
    finally:
        listener.close()
        stop_log(handler)


def _run(
    listener: socket.socket, settings: Settings, certfile: Path | None, keyfile: Path | None,
    make: Callable[[], Sessions], announce: Callable[[], None],
) -> None:  # fmt: skip
    server: Server | None = None

    def failed() -> None:
        if server is not None:
            server.should_exit = True

    waking = Waking(make, failed)
    app = create_app(waking.sessions, settings, lambda: _metrics(waking), lambda: waking.waking)
    tls = {} if certfile is None else {"ssl_certfile": str(certfile), "ssl_keyfile": keyfile and str(keyfile)}
    server = Server(uvicorn_config(app, settings, **tls))
    if waking.error is None:
        announce()
        note("listening", port=listener.getsockname()[1], tls=certfile is not None, tokens=len(settings.tokens))
        try:
            server.run(sockets=[listener])
        finally:
            if waking.engine is not None:  # while it is still being loaded there is nothing to keep
                getattr(waking.engine, "stop", lambda: None)()
    note("ended")
    if waking.error is not None:
        raise waking.error


def limits_of(caps: Mapping[str, float | None]) -> Limits:
    """The engine's limits, those that are given in place of the usual ones. Raises ServeError for one of 0 or less."""
    return Limits(**{name: cap for name, cap in caps.items() if cap is not None})  # type: ignore[arg-type]


def make_engine(checkpoint: str, folder: Path | None, limits: Limits, policy: str | None = None) -> Engine:
    """The engine that `serve` serves, in a process of its own: torch is told to compute with one thread."""
    import torch

    from tml_lab.serve.engine import Engine
    from tml_lab.serve.warm import load_warm
    from tml_lab.worlds.remembered import usual_policy

    torch.set_num_threads(1)  # see `Limits.threads`
    return Engine(*load_warm(checkpoint), folder=folder, limits=limits, policy=usual_policy(policy))


def _metrics(waking: Waking) -> Any:
    if waking.engine is None:
        return None
    from tml_lab.serve.metrics import registry

    return registry(cast(Any, waking.engine))


class Server(uvicorn.Server):
    """uvicorn's server, ended by a signal as by a word: it does not raise the signal again when it is done."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while it runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class WebSockets(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which the server's end may meet at any moment of its own end.

    Between the caller's goodbye and the end of its connection (with TLS a round trip or more) uvicorn would say goodbye
    once more, which `websockets` refuses with an error; and that error ended the server.
    """

    def shutdown(self) -> None:
        """The server ends: say so to a caller who has not said goodbye yet."""
        try:
            super().shutdown()
        except InvalidState:
            self.transport.close()


def uvicorn_config(app: Any, settings: Settings, **tls: Any) -> uvicorn.Config:
    """uvicorn as this server needs it: no access log (ours is in JSON), no compression, small messages, pings."""
    return uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off", ws=WebSockets,
        ws_max_size=settings.max_message, ws_per_message_deflate=False, ws_ping_interval=20.0, ws_ping_timeout=20.0,
        timeout_graceful_shutdown=GRACE, timeout_keep_alive=30, limit_concurrency=4 * settings.max_sockets, **tls,
    )  # fmt: skip


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ValueError in one sentence when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio turns Nagle's algorithm off: it would hold a reply back for 40 ms.
        listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    except OSError as error:
        raise ValueError(f"there is no address {host!r} to listen on ({error}): give --host as an address.") from None
    try:
        if os.name == "posix":  # on Windows this option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            remedy = "choose another with --port, or --port 0 for any free one."
            raise ValueError(f"port {port} of {host} is taken: {remedy}") from None
        reason = error.strerror or error
        raise ValueError(f"port {port} of {host} cannot be listened on ({reason}): choose another.") from None
    return listener


def check_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    """Raises ValueError, in one sentence, for a certificate or a key that cannot be used."""
    if certfile is None:
        if keyfile is not None:
            raise ValueError("--keyfile needs the --certfile that belongs to it.")
        return
    for file in filter(None, (certfile, keyfile)):
        if not file.is_file():
            raise ValueError(f"there is no file {file}: give the certificate, and its key, in PEM form.")
    try:
        # An encrypted key would ask at the terminal; an empty password makes it fail instead.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{certfile} with {keyfile or 'the key in it'} is no certificate that can be used ({reason}): "
            "both must be PEM, unencrypted, and belong together."
        ) from None


def _check_token(token: str) -> None:
    if len(token) < 8 or not token.isascii() or not token.isprintable() or set(token) & set(" ,;\"\\"):
        raise ValueError("a token must have at least 8 plain characters: letters, digits, - and _.")


def _announce(
    say: Callable[[str], None], host: str, listener: socket.socket, settings: Settings, tls: bool, made: bool
) -> None:
    name = _reachable(host) if host in ("0.0.0.0", "::") else host
    where = f"[{name}]" if ":" in name else name
    port = listener.getsockname()[1]
    say(f"tml serve listens on {'wss' if tls else 'ws'}://{where}:{port} (Ctrl-C ends it)")
    if made:
        page = f"{'https' if tls else 'http'}://{where}:{port}/#token={settings.tokens[0]}"
        say(f"the link for the class, with its token, shown this once: {page}")
    if not tls and host not in LOOPBACK:
        say("without --certfile and --keyfile, sound and token go over the network in the clear")


def _reachable(host: str) -> str:
    """The address by which other machines find this one."""
    family = socket.AF_INET6 if host == "::" else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1" if host == "::" else "192.0.2.1", 9))  # chooses a way; sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()
