"""The client's side of one session's socket: chunks go out as they come, and every one gets its reply in the end.

A chunk is kept until its reply is here; when the socket is lost, or the server says "later", all that is unanswered is
sent again, in order. The server knows by a chunk's number what it has done already. The last chunks that were answered
are kept too: a server that was killed may have lost the newest turn, and then asks for it once more.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tml_lab.serve.back_off import back_off
from tml_lab.serve.contract import BusyError, ChunkGapError, NotAllowedError, Reply, ServeError
from tml_lab.serve.messages import read_error, read_reply
from tml_lab.serve.wire import Message, pack, unpack

WINDOW = 8  # chunks on their way at a time
KEPT = 8  # answered chunks that are kept for a server that lost a turn
ANSWER_SECONDS = 60.0  # without any answer to what was sent: the socket counts as lost
STUCK = 100  # chunks sent again without one success, before it is given up
TAKEN_OVER = 4009
MAX_REPLY = 256 << 20  # bytes; attention over hours of turns is long


class UnreachableError(ServeError):
    """The server cannot be reached."""

    code, status = "unreachable", 503


class Socket(Protocol):
    """What is needed of a WebSocket connection."""

    async def send(self, message: bytes) -> None: ...
    async def recv(self) -> bytes | str: ...


@dataclass
class _Sent:
    """A message on its way."""

    seq: int
    stale: bool = False  # it was sent before something that will be sent again, so its refusal says nothing


@dataclass
class _Waiting:
    data: bytes
    future: Future[Reply] = field(default_factory=Future)


class RemoteLine:
    """One session's socket, kept up.

    Args:
        dial: opens a new connection; raises ServeError where trying again is of no use.
        session, writer: as `open_session` gave them.
        patience: seconds without a connection after which what waits fails with UnreachableError.
    """

    def __init__(
        self, dial: Callable[[], AbstractAsyncContextManager[Socket]], session: str, writer: str, patience: float
    ) -> None:
        self._dial, self._session, self._writer, self._patience = dial, session, writer, patience
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._to_send: deque[int] = deque()
        self._sent: deque[_Sent] = deque()
        self._changed = asyncio.Event()
        self._not_before = 0.0
        self._again = 0
        self._task: asyncio.Task[None] | None = None
        self.dials = 0  # connections made

    def put(self, seq: int, data: bytes, future: Future[Reply]) -> None:
        """Send a chunk as soon as can be; call it in the event loop's thread."""
        if seq in self._waiting:  # the same chunk twice: one turn, and one reply for both
            self._waiting[seq].future.add_done_callback(lambda done: _copy(done, future))
            return
        self._waiting[seq] = _Waiting(data, future)
        self._to_send.append(seq)
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Hang up; what waits fails."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._fail_all(ServeError("the session was closed before this chunk was answered."))

    async def _run(self) -> None:
        try:
            await self._keep_up()
        except Exception as error:  # nobody may wait for ever because of a mistake in here
            self._fail_all(ServeError(f"the client failed ({type(error).__name__}): close this session and open one."))
            raise

    async def _keep_up(self) -> None:
        tries, lost_at = 0, time.monotonic()
        given_up: ServeError = UnreachableError(
            f"the server could not be reached for {self._patience:.0f} s: is the network there, and the server?"
        )
        while True:
            last, delay = given_up, None
            try:
                async with self._dial() as socket:
                    self.dials += 1
                    await self._resume(socket)
                    tries = 0
                    await self._talk(socket)
            except ServeError as error:
                if not isinstance(error, BusyError):
                    self._fail_all(error)
                    return
                last, delay = error, error.retry_after
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
                if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == TAKEN_OVER:
                    self._fail_all(NotAllowedError("another connection writes to this session now."))
                    return
            if tries == 0:
                lost_at = time.monotonic()
            tries += 1
            if not self._waiting:
                return  # the next chunk dials again
            if time.monotonic() - lost_at > self._patience:
                self._fail_all(last)
                return
            await asyncio.sleep(back_off(tries) if delay is None else delay)

    async def _resume(self, socket: Socket) -> None:
        """Say which session this is, and send anew what the server has not, or has not answered."""
        await socket.send(pack(Message("resume", {"session_id": self._session, "writer": self._writer})))
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = _read(await socket.recv())
        expected = answer.fields.get("expected")
        if answer.kind == "error" or not isinstance(expected, int):
            raise read_error(answer.fields)
        self._sent.clear()
        self._rewind(min([expected, *self._waiting]))

    def _rewind(self, seq: int) -> None:
        """Everything from this number on is sent again."""
        for sent in self._sent:
            sent.stale = True
        again = [old for old, _ in self._kept if old >= seq and old not in self._waiting]
        self._to_send = deque(sorted([*again, *(s for s in self._waiting if s >= seq)]))
        self._changed.set()

    async def _talk(self, socket: Socket) -> None:
        """Send and receive until the socket is lost; raises what ended it."""
        sender = asyncio.create_task(self._send(socket))
        receiver = asyncio.create_task(self._receive(socket))
        try:
            done, _ = await asyncio.wait([sender, receiver], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _send(self, socket: Socket) -> None:
        while True:
            self._changed.clear()
            if (wait := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            while self._to_send and len(self._sent) < WINDOW and self._not_before <= time.monotonic():
                seq = self._to_send.popleft()
                data = self._data(seq)
                if data is not None:
                    self._sent.append(_Sent(seq))
                    await socket.send(data)
            if not (self._to_send and len(self._sent) < WINDOW):
                await self._changed.wait()

    def _data(self, seq: int) -> bytes | None:
        if seq in self._waiting:
            return self._waiting[seq].data
        return next((data for old, data in self._kept if old == seq), None)

    async def _receive(self, socket: Socket) -> None:
        while True:
            # Without anything on its way there is nothing to wait for in time; the library's pings watch the line.
            async with asyncio.timeout(ANSWER_SECONDS if self._sent else None):
                answer = _read(await socket.recv())
            if not self._sent:
                raise ServeError("the server answered what was never sent: are both sides of one version?")
            sent = self._sent.popleft()
            if answer.kind == "reply":
                self._answered(sent.seq, read_reply(answer))
            else:
                self._refused(sent, read_error(answer.fields))
            self._changed.set()

    def _answered(self, seq: int, reply: Reply) -> None:
        if reply.seq != seq:
            raise ServeError(f"the server answered chunk {reply.seq} where {seq} was due: are both of one version?")
        self._again = 0
        waiting = self._waiting.pop(seq, None)
        if waiting is not None:  # else: an old chunk that a restarted server had lost
            self._kept.append((seq, waiting.data))
            waiting.future.set_result(reply)

    def _refused(self, sent: _Sent, error: ServeError) -> None:
        """Wait and send again where this helps; else its sender hears it."""
        known = error.expected is not None and self._data(error.expected) is not None
        later = isinstance(error, BusyError) or (isinstance(error, ChunkGapError) and known)
        if later and sent.stale:
            return
        if later and self._again < STUCK:
            self._again += 1
            gap = isinstance(error, ChunkGapError) and error.expected is not None
            if not gap:
                self._not_before = time.monotonic() + (error.retry_after or back_off(self._again))
            self._rewind(error.expected if gap and error.expected is not None else sent.seq)
            return
        waiting = self._waiting.pop(sent.seq, None)
        if waiting is not None:
            waiting.future.set_exception(error)

    def _fail_all(self, error: ServeError) -> None:
        waiting, self._waiting = self._waiting, OrderedDict()
        self._to_send.clear()
        for one in waiting.values():
            one.future.set_exception(error)


def _read(data: bytes | str) -> Message:
    if isinstance(data, str):
        raise ServeError("the server sent text: this is no session server of the lab.")
    return unpack(data, max_header=MAX_REPLY, max_parts=1 << 20, max_bytes=MAX_REPLY)


def _copy(done: Future[Reply], to: Future[Reply]) -> None:
    error = done.exception()
    if error is None:
        to.set_result(done.result())
    else:
        to.set_exception(error)
