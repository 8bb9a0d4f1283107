"""Who may come in: tokens, origins, and how often.

A browser sends its page's origin with every WebSocket and every POST, and no page can forge it; other programs send
none. So an origin that is there must be the server's own or a listed one. Without tokens the server is for this
machine alone, and the Host must say so: otherwise a page could give its own name this machine's address (DNS
rebinding) and pass as the same origin.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tml_lab.serve.contract import BusyError, NotAllowedError
from tml_lab.serve.rates import Rate

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROTOCOL = "tml.v1"  # WebSocket subprotocol; a browser, which can set no header, adds "bearer.TOKEN" to it
_BEARER = "bearer."
ANYBODY = "anybody"


@dataclass(frozen=True)
class Settings:
    """How a server is guarded.

    Args:
        tokens: any of these opens the door; none: for this machine alone, without a token.
        origins: pages of these origins ("https://hub.example.org") may come too.
        max_message: bytes of one request or WebSocket message.
        max_sockets: WebSockets at a time.
        calls: requests and chunks per second with one token, `burst` at once (a class shares one token).
        chunks: chunks per second to one session, `chunk_burst` at once; in real time a session sends 5.
        guesses: wrong tokens that one address may send at once; one more each second.
        patience: seconds that a chunk sent by HTTP waits for its turn before the sender is asked to send it again.
    """

    tokens: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_message: int = 4 << 20
    max_sockets: int = 256
    calls: float = 1000.0
    burst: float = 2000.0
    chunks: float = 100.0
    chunk_burst: float = 200.0
    guesses: float = 20.0
    patience: float = 30.0


class Gate:
    """Lets a caller in or says why not; knows nothing of sessions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tokens = [token.encode() for token in settings.tokens]
        self._calls = Rate(settings.calls, settings.burst)
        self._chunks = Rate(settings.chunks, settings.chunk_burst)
        self._guesses = Rate(1.0, settings.guesses)

    def admit(
        self, headers: Mapping[str, str], address: str, subprotocols: Sequence[str] = (), scheme: str = "http"
    ) -> str:
        """The caller's name: the first digits of the token's hash. Raises NotAllowedError or BusyError."""
        self._check_origin(headers.get("origin"), headers.get("host", ""), scheme)
        if not self._tokens:
            return ANYBODY
        given = _bearer(headers.get("authorization", ""), subprotocols)
        # Each token is compared, and to the end: the time it takes says nothing.
        right = sum(secrets.compare_digest(given, token) for token in self._tokens)
        if not right:
            if wait := self._guesses.wait(address):
                raise BusyError("too many wrong tokens came from this address: wait a little.", retry_after=wait)
            raise NotAllowedError(
                "this server wants a token, and this is not one of its tokens: ask whoever started it."
                if given
                else "this server wants a token: give the one that it printed when it started."
            )
        return hashlib.sha256(given).hexdigest()[:8]

    def _check_origin(self, origin: str | None, host: str, scheme: str) -> None:
        if not self._tokens and _name(host) not in LOOPBACK:
            raise NotAllowedError("without a token this server answers only to localhost: start it with --token.")
        if origin is None or origin in self.settings.origins:
            return
        secure = {"http": "http", "ws": "http", "https": "https", "wss": "https"}[scheme]
        if origin != f"{secure}://{host}":
            raise NotAllowedError("pages of this origin may not use this server: start it with --origin to allow it.")

    def call_wait(self, who: str) -> float:
        """Seconds until this caller may call again; 0: now."""
        return self._calls.wait(who)

    def chunk_wait(self, who: str, session: str) -> float:
        """Seconds until this session may have its next chunk; 0: now."""
        return self._chunks.wait(session) or self._calls.wait(who)


def _bearer(authorization: str, subprotocols: Sequence[str]) -> bytes:
    kind, _, token = authorization.partition(" ")
    if kind.lower() == "bearer":
        return token.strip().encode(errors="replace")
    offered = [p.removeprefix(_BEARER) for p in subprotocols if p.startswith(_BEARER)]
    return offered[0].encode(errors="replace") if offered else b""


def _name(host: str) -> str | None:
    """The name in a Host header, without its port; None when it is no host."""
    try:
        return None if set(host) & set("/?#@\\ ") else urlsplit(f"//{host}").hostname
    except ValueError:
        return None
