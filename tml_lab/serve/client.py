"""The client of a session server: the contract's calls, carried over HTTP and a WebSocket.

    sessions = RemoteSessions("wss://hub.example.org:8321", token="...")
    opened = sessions.open(seed=3)
    sessions.append(opened.id, opened.writer, Append(0, audio)).result()

Chunks go through a WebSocket of their session's own (`remote_line`), which is dialled again when it is lost; everything
else is one HTTP request, sent again while the server cannot be reached, for `patience` seconds.

Behind one address there may be several servers (see `ray_app`). So each session, with its forks, has a place: a random
name, sent in the header X-Session-Id, by which a router finds the one server that has it. It stands behind the
session's name, after `@`.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import secrets
import ssl
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect as dial_socket
from websockets.exceptions import InvalidStatus

from tml_lab.serve.address import WrongServerError, read_address, read_token, unreached
from tml_lab.serve.back_off import back_off
from tml_lab.serve.check_chunk import check_chunk
from tml_lab.serve.contract import Append, BusyError, NoSessionError, Opened, Reply, ServeError, SessionInfo
from tml_lab.serve.limits import Limits
from tml_lab.serve.messages import append_message, read_error
from tml_lab.serve.remote_line import MAX_REPLY, RemoteLine, Socket, UnreachableError
from tml_lab.stream.recording import Recording

__all__ = ["RemoteSessions", "UnreachableError"]

ANSWER_SECONDS, DOWNLOAD_SECONDS = 30.0, 300.0  # an hour's recording takes a while to be put together
CLOSE_SECONDS = 5.0
ANSWERS = {"application/json", "application/zip"}
LATER = 10.0  # a server that says "in so many seconds" is full: its sentence says so, and nobody sits and waits
FIRST_SECONDS = 10.0  # of patience with a server that has never answered: more likely the address is wrong

_HUNG_UP = "this connection was hung up: connect again."
_ANY = Limits(lost=2**31, patches=2**31)  # how much a server takes it says itself


class RemoteSessions:
    """Many sessions on somebody's server; keeps the contract `Sessions`, from any thread.

    Args:
        url: as `tml serve` prints it: ws, wss, http or https; a link with `#token=...` brings its token along.
        token: None: of the link, or of the environment variable TML_TOKEN, or none.
        sound: "f32": the sound is, in both directions, what it would be here, bit for bit. "s16": half the bytes.
        pictures: "u8": pixel by pixel; "jpeg": a tenth of the bytes.
        patience: seconds for which an unreachable server is tried again; one that has never answered, 10 at most.
        certificate: file of a certificate to trust, for a server that made its own.

    Raises ServeError for an address that is none.
    """

    def __init__(
        self, url: str, token: str | None = None, sound: str = "f32", pictures: str = "u8", patience: float = 60.0,
        certificate: str | Path | None = None,
    ) -> None:  # fmt: skip
        self.url, linked = read_address(url)
        self._sound, self._pictures, self.patience = sound, pictures, patience
        token = read_token(token or linked or os.environ.get("TML_TOKEN"))
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ssl = _trust(certificate) if self.url.startswith("https") else None
        self._http = httpx.Client(
            base_url=self.url, headers=self._headers, timeout=httpx.Timeout(ANSWER_SECONDS, connect=5.0),
            verify=self._ssl or True, limits=httpx.Limits(max_connections=8),
        )  # fmt: skip
        self._lines: dict[str, RemoteLine] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended = self._met = False  # met: it has answered once

    def open(self, seed: int = 0, attention: tuple[int, int] | None = None) -> Opened:
        """A fresh session. Raises BusyError when no more are allowed."""
        return self._opened("/open_session", secrets.token_urlsafe(9), seed=seed, attention=attention)

    def append(self, id: str, writer: str, chunk: Append) -> Future[Reply]:
        """Send one chunk; the future brings its reply, or what went wrong in the end. BadChunkError comes at once."""
        checked = check_chunk(chunk, _ANY)
        data = append_message(checked, self._sound, self._pictures)
        future: Future[Reply] = Future()
        future.set_running_or_notify_cancel()  # what was sent cannot be taken back
        self._in_loop(lambda: self._line(id, writer).put(checked.seq, data, future))
        return future

    def fork(self, id: str, at: int | float | None = None) -> Opened:
        """A new session with the same past (see `Session.fork`)."""
        where = {} if at is None else {"at_seconds": at} if isinstance(at, float) else {"at_turn": int(at)}
        name, place = _placed(id)
        return self._opened("/fork_session", place, session_id=name, **where)

    def watch(self, id: str, writer: str, attention: tuple[int, int] | None) -> None:
        """Choose the head whose attention the replies carry, from the next chunk on."""
        self._tell("/watch_attention", id, writer, attention=attention)

    def info(self, id: str) -> SessionInfo:
        """How it stands."""
        fields = self._get("/session_info", id).json()
        del fields["session_id"]
        return SessionInfo(id, **fields | {"heads": tuple(fields.get("heads", ()))})

    def recording(self, id: str) -> Recording:
        """Everything so far, between two turns."""
        with tempfile.TemporaryDirectory(prefix="tml-recording-") as folder:
            file = Path(folder) / "recording.tml.zip"
            file.write_bytes(self._get("/recording", id, timeout=DOWNLOAD_SECONDS).content)
            return Recording.load(file)

    def close(self, id: str, writer: str) -> None:
        """End it; its place on the server is free. A server that cannot be reached is not waited for long."""
        with self._lock:
            line = self._lines.pop(id, None)
        if line is not None:
            self._in_loop(line.close)
        self._tell("/close_session", id, writer, CLOSE_SECONDS)

    def hang_up(self) -> None:
        """Close all connections; the sessions go on until the server's time-out, or somebody's `resume`."""
        with self._lock:
            lines, self._lines, self._ended = list(self._lines.values()), {}, True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            for line in lines:
                asyncio.run_coroutine_threadsafe(line.close(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
        self._http.close()

    def __enter__(self) -> RemoteSessions:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    # --- HTTP

    def _opened(self, path: str, place: str, **body: Any) -> Opened:
        # Asked again because an answer was lost, the server opens one session all the same.
        body |= {"request_id": secrets.token_urlsafe(16)}
        fields = self._insist(lambda: self._http.post(path, json=body, headers=_to(place))).json()
        return Opened(f"{fields['session_id']}@{place}", fields["writer"], fields["expected"])

    def _tell(self, path: str, id: str, writer: str, patience: float = math.inf, **body: Any) -> None:
        name, place = _placed(id)
        headers = {"Writer-Key": writer, **_to(place)}
        self._insist(lambda: self._http.post(path, json={"session_id": name, **body}, headers=headers), patience)

    def _get(self, path: str, id: str, timeout: float = ANSWER_SECONDS) -> httpx.Response:
        name, place = _placed(id)
        return self._insist(
            lambda: self._http.get(path, params={"session_id": name}, headers=_to(place), timeout=timeout)
        )

    def _insist(self, request: Callable[[], httpx.Response], patience: float = math.inf) -> httpx.Response:
        """Ask until there is an answer that is no "later", for `patience` seconds at most."""
        if self._ended:
            raise ServeError(_HUNG_UP)
        began, tries, patience = time.monotonic(), 0, min(patience, self.patience)
        while True:
            try:
                response = request()
                self._met = True
                if response.is_success and response.headers.get("content-type", "").split(";")[0] in ANSWERS:
                    return response
                error: ServeError = _refusal(response.status_code, response.content, self.url)
                delay = error.retry_after
                if response.status_code in (502, 503, 504):  # of a proxy, or of a server with too many callers
                    error = UnreachableError(f"{self.url} takes no calls now: status {response.status_code}.")
                elif not isinstance(error, BusyError) or delay is None or delay >= LATER:
                    raise error
            except httpx.TransportError as failure:
                error, delay = unreached(self.url, failure), None
                if isinstance(error, WrongServerError):
                    raise error from None
            tries += 1
            delay = back_off(tries) if delay is None else delay
            if time.monotonic() + delay > began + (patience if self._met else min(patience, FIRST_SECONDS)):
                raise error
            time.sleep(delay)

    # --- WebSocket, in an event loop and thread of its own: notebooks have a loop that is not ours

    def _in_loop(self, action: Callable[[], Any]) -> None:
        with self._lock:
            if self._ended:
                raise ServeError(_HUNG_UP)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_turn_loop, args=(self._loop,), name="tml-remote", daemon=True)
                self._thread.start()
            loop = self._loop

        def act() -> None:
            outcome = action()
            if asyncio.iscoroutine(outcome):
                tasks.add(task := loop.create_task(outcome))
                task.add_done_callback(tasks.discard)

        tasks: set[asyncio.Task[Any]] = set()
        loop.call_soon_threadsafe(act)

    def _line(self, id: str, writer: str) -> RemoteLine:
        with self._lock:
            if id not in self._lines:
                name, place = _placed(id)
                self._lines[id] = RemoteLine(lambda: self._dial(place), name, writer, self.patience)
            return self._lines[id]

    @asynccontextmanager
    async def _dial(self, place: str) -> AsyncIterator[Socket]:
        # No compression: sound does not shrink, and the server's time is its model's.
        dialling = dial_socket(
            f"{self.url.replace('http', 'ws', 1)}/stream", additional_headers={**self._headers, **_to(place)},
            compression=None, max_size=MAX_REPLY, ssl=self._ssl, open_timeout=10.0, max_queue=32,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            try:
                socket = await stack.enter_async_context(dialling)
            except InvalidStatus as refused:
                if refused.response.status_code >= 500:  # a proxy whose server is down
                    raise OSError(f"status {refused.response.status_code}") from None
                raise _refusal(refused.response.status_code, bytes(refused.response.body or b""), self.url) from None
            yield socket


def _placed(id: str) -> tuple[str, str]:
    """A session's name on its server, and its place."""
    name, _, place = id.partition("@")
    return name, place


def _to(place: str) -> dict[str, str]:
    return {"X-Session-Id": place} if place else {}


def _turn_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _trust(certificate: str | Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if certificate is None else str(certificate))
    except (OSError, ssl.SSLError) as error:
        raise ServeError(f"{certificate} is no certificate that can be read ({error}).") from None


def _refusal(status: int, body: bytes, url: str) -> ServeError:
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    fields = fields if isinstance(fields, dict) else {}
    if "sentence" not in fields or (status == 404 and fields.get("code") != NoSessionError.code):
        what = f"what answers at {url} is no session server of the lab (status {status})"
        return ServeError(f"{what}: give the address as `tml serve` printed it.")
    return read_error(fields, status)
