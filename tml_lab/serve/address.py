"""A server's address and token, as a person copies them, and why nothing answers there: each in one sentence."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx

from tml_lab.serve.contract import ServeError
from tml_lab.serve.remote_line import UnreachableError

SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
# What OpenSSL says when the other side does not speak TLS; the words differ between its versions.
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}


class WrongServerError(UnreachableError):
    """What answers there can never be talked to: trying again is of no use."""


def read_address(url: str) -> tuple[str, str | None]:
    """The server's address for HTTP, and the token of a link (after `#` or `?`). Raises ServeError."""
    wrong = ServeError(f"{url!r} is no address of a server: it looks like ws://host:8321 or wss://host.")
    try:
        parts = urlsplit(url.strip())
        scheme, host, _ = SCHEMES[parts.scheme], parts.hostname, parts.port
    except (KeyError, ValueError, AttributeError):  # no scheme of ours, a port that is none, no text
        raise wrong from None
    if not host or set(parts.netloc) & set(" \t<>\"'\\"):
        raise wrong
    token = next((found[0] for part in (parts.fragment, parts.query) if (found := parse_qs(part).get("token"))), None)
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}", token


def read_token(token: str | None) -> str | None:
    """A token without the blanks and line ends that copying brings along. Raises ServeError."""
    token = (token or "").strip()
    if not (token.isascii() and token.isprintable()):
        raise ServeError("this token has characters that no token has: copy it again from the link for the class.")
    return token or None


def unreached(url: str, failure: httpx.TransportError) -> UnreachableError:
    """Why there is no answer from `url`, and what to do; WrongServerError where waiting does not help."""
    if "CERTIFICATE_VERIFY_FAILED" in str(failure):
        return WrongServerError(f"the certificate of {url} is not one that is trusted here: give certificate=FILE.")
    causes = list(_causes(failure))
    if any(isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS for cause in causes):
        return WrongServerError(f"{url} answers, but without TLS: write ws:// in place of wss://.")
    if isinstance(failure, httpx.ReadTimeout):
        return UnreachableError(f"{url} is there, but has not answered in time: try again when it is less busy.")
    nothing, host = f"nothing answers at {url}", urlsplit(url).hostname
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return UnreachableError(f"{nothing}: no machine named {host} is known here; is it spelt right?")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return UnreachableError(f"{nothing}: the machine is there; is the port right, and the server up?")
    if isinstance(failure, httpx.ConnectTimeout):
        return UnreachableError(f"{nothing}: is the address right, and are both machines in one network?")
    if isinstance(failure, httpx.RemoteProtocolError) and url.startswith("http:"):
        return UnreachableError(f"{nothing} as a session server would: is it wss:// in place of ws://?")
    return UnreachableError(f"{nothing}: is the address right, and the server up?")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What led to an error, the error itself first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
