"""What HTTP and WebSocket share: the sessions behind them, who may call, the counts and the log.

The sessions' calls may wait (for a lock, for a fork to be computed), so each runs in a thread; the event loop only
moves bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tml_lab.serve.contract import BusyError, Opened, Reply, ServeError, Sessions
from tml_lab.serve.gate import Gate, Settings
from tml_lab.serve.json_lines import note, short
from tml_lab.serve.messages import read_append, reply_message
from tml_lab.serve.wire import Message

T = TypeVar("T")
REMEMBERED = 1024  # openings by request id
SECONDS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class FailedError(ServeError):
    """The server itself failed; what was asked may or may not have been done."""

    code, status = "failed", 500


class Service:
    """Many callers on one `Sessions`.

    Args:
        sessions: an engine, or anything else that keeps the contract.
        settings: tokens, origins and limits.
        engine_metrics: the engine's own counts, or None.
    """

    def __init__(
        self, sessions: Sessions, settings: Settings, engine_metrics: Callable[[], CollectorRegistry | None]
    ) -> None:
        self.sessions, self.settings, self.gate = sessions, settings, Gate(settings)
        self._engine_metrics = engine_metrics
        self._quick, self._slow = CapacityLimiter(8), CapacityLimiter(2)
        self.open_sockets = 0
        self.writing: dict[str, Any] = {}  # session -> the socket that writes to it
        self._openings: OrderedDict[tuple[str, str], asyncio.Task[Opened]] = OrderedDict()
        self.registry = of = CollectorRegistry()
        self.requests = Counter("tml_http_requests", "HTTP requests answered.", ["path", "status"], registry=of)
        self.refused = Counter("tml_answers_refused", "Calls and chunks refused, by code.", ["code"], registry=of)
        self.sockets = Gauge("tml_sockets", "WebSockets open.", registry=of)
        self.append_seconds = Histogram(
            "tml_append_seconds", "Seconds from a chunk's last byte in to its reply.", buckets=SECONDS, registry=of
        )

    def metrics(self) -> bytes:
        """All counts in Prometheus' text form."""
        engine = self._engine_metrics()
        return generate_latest(self.registry) + (b"" if engine is None else generate_latest(engine))

    async def call(self, function: Callable[..., T], *arguments: Any, slow: bool = False) -> T:
        """Run one of the sessions' calls in a thread. Raises ServeError alone."""
        try:
            return await to_thread.run_sync(
                lambda: function(*arguments), limiter=self._slow if slow else self._quick
            )
        except Exception as error:
            raise self.as_refusal(error) from None

    def as_refusal(self, error: BaseException) -> ServeError:
        """An exception as something to tell a caller; counted, and logged when it was not expected."""
        if not isinstance(error, ServeError):
            note("failed", 40, error)
            error = FailedError("the server failed in this call; its log says where.")
        self.refused.labels(error.code).inc()
        return error

    async def append(self, session: str, writer: str, message: Message) -> tuple[Future[Reply], str]:
        """Queue a chunk; its future, and the form of sound that its reply shall have."""
        try:
            chunk, sound = read_append(message)
        except ServeError as error:
            raise self.as_refusal(error) from None
        return await self.call(self.sessions.append, session, writer, chunk), sound

    async def reply(self, future: Future[Reply], sound: str, began: float) -> bytes:
        """Wait for a chunk's turn; its reply as bytes. Raises ServeError alone."""
        await _done(future)
        try:
            data = reply_message(future.result(), sound)
        except BaseException as error:  # what the engine's thread met, were it KeyboardInterrupt
            raise self.as_refusal(error) from None
        self.append_seconds.observe(time.perf_counter() - began)
        return data

    async def open_once(self, who: str, request: str | None, start: Callable[[], Awaitable[Opened]]) -> Opened:
        """Open or fork a session; asked again with one request id, the answer is the one it got before."""
        if request is None:
            return await start()
        key = (who, request)
        task = self._openings.get(key)
        if task is None:
            task = self._openings[key] = asyncio.ensure_future(start())  # type: ignore[arg-type]
            while len(self._openings) > REMEMBERED:
                self._openings.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except ServeError:
            self._openings.pop(key, None)  # a refusal is not remembered: the next try may find room
            raise

    def limit_calls(self, who: str) -> None:
        """Raises BusyError when this caller calls too often."""
        if wait := self.gate.call_wait(who):
            raise BusyError("too many calls with this token: wait a little.", retry_after=wait)

    def limit_chunks(self, who: str, session: str) -> None:
        """Raises BusyError when chunks come too often."""
        if wait := self.gate.chunk_wait(who, session):
            raise BusyError("chunks come faster than one session may send them: wait a little.", retry_after=wait)

    def opened(self, who: str, opened: Opened, how: str) -> Opened:
        """Log a session's opening."""
        note(how, session=short(opened.id), token=who)
        return opened


async def _done(future: Future[Any]) -> None:
    """Wait for a future of another thread without ever cancelling it: the turn is run whether we wait or not."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def tell(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(lambda: waiter.done() or waiter.set_result(None))

    future.add_done_callback(tell)
    await waiter
