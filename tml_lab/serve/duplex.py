"""The WebSocket side: one session a socket, messages pipelined, replies in the order of the messages.

    up    open_session {seed, attention, request_id}   the first message, or:
          resume {session_id, writer}                  go on with a session after a socket was lost
          append {seq, ...} + parts                    as many as one likes before the first reply comes
          watch_attention {attention}, session_info {}, close_session {}
    down  opened {session_id, writer, expected}        answers the first message
          reply {seq, ...} + parts, info {...}, done {}, or error {code, sentence, seq, ...} for each message

Chunks are handed on as they come, and each message gets exactly one answer, so that a sender knows what was lost with a
socket: everything unanswered. It sends that again, and nothing is done twice. Where a session is resumed, the socket
that wrote to it before is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tml_lab.serve import schemas
from tml_lab.serve.contract import BadChunkError, BusyError, NoSessionError, Opened, ServeError
from tml_lab.serve.gate import PROTOCOL
from tml_lab.serve.guard import refusal_headers
from tml_lab.serve.json_lines import note, short
from tml_lab.serve.messages import error_fields, error_message, plain
from tml_lab.serve.service import Service
from tml_lab.serve.wire import Message, pack, unpack

PIPELINE = 64  # messages taken before their answers are sent; beyond it nothing more is read
FIRST_SECONDS = 10.0  # for the first message
SEND_SECONDS = 20.0  # for one answer to leave: a peer that reads nothing is gone
CLOSE_SECONDS = 2.0
TAKEN_OVER, NO_SESSION, TOO_SLOW = 4009, 4004, 4008
Answer = Callable[[], Awaitable[bytes]]
Body = TypeVar("Body", bound=BaseModel)


async def serve_socket(socket: WebSocket, service: Service) -> None:
    """Meet a caller at the door, and serve it until either side ends."""
    try:
        address = socket.client.host if socket.client else ""
        offered = socket.scope.get("subprotocols", [])
        who = service.gate.admit(socket.headers, address, offered, socket.url.scheme)
        service.limit_calls(who)
        if service.open_sockets >= service.settings.max_sockets:
            raise BusyError("the server has all the sockets that it may have: try again later.", retry_after=5.0)
    except ServeError as error:
        service.as_refusal(error)
        headers = {name.decode(): value.decode() for name, value in refusal_headers(error)}
        body = schemas.Refusal(**error_fields(error)).model_dump_json()
        await socket.send_denial_response(Response(body, error.status, headers))
        return
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)
    service.open_sockets += 1
    service.sockets.set(service.open_sockets)
    line = Line(socket, service, who)
    try:
        await line.run()
    finally:
        service.open_sockets -= 1
        service.sockets.set(service.open_sockets)
        if service.writing.get(line.session) is line:
            del service.writing[line.session]
        note("socket closed", token=who, session=short(line.session), seconds=round(time.monotonic() - line.began, 3))


class Line:
    """One socket and its session."""

    def __init__(self, socket: WebSocket, service: Service, who: str) -> None:
        self._socket, self._service, self._who = socket, service, who
        self.session, self._writer = "", ""
        self.began = time.monotonic()
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue(PIPELINE)
        self._ending = asyncio.Event()
        self._code, self._reason = 1000, ""

    def end(self, code: int, reason: str) -> None:
        """Have the socket closed, from outside."""
        self._code, self._reason = code, reason
        self._ending.set()

    async def run(self) -> None:
        """Until the other side leaves, or the session is over."""
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        ending = asyncio.create_task(self._ending.wait())
        tasks = [reader, writer, ending]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and not reader.cancelled() and reader.exception() is None and reader.result():
                await asyncio.wait([writer, ending], return_when=asyncio.FIRST_COMPLETED)  # what is still to be said
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect | TimeoutError):
                    note("socket failed", 40, outcome)
                    self._code, self._reason = 1011, "the server failed; its log says where"
            if self._socket.application_state is WebSocketState.CONNECTED:
                with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._socket.close(self._code, self._reason)

    async def _read(self) -> bool:
        """Take messages in; whether all answers shall still be sent."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                first = await self._next()
        except TimeoutError:
            self._code, self._reason = TOO_SLOW, "nothing came"
            return False
        answer = await self._begin(first)
        await self._answers.put(answer)
        while self.session:
            message = await self._next()
            answer = message if callable(message) else await self._take(message)
            await self._answers.put(answer)
            if isinstance(message, Message) and message.kind == "close_session":
                break
        await self._answers.put(None)
        return True

    async def _write(self) -> None:
        while (answer := await self._answers.get()) is not None:
            data = await answer()
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_bytes(data)

    async def _next(self) -> Message | Answer:
        """The next message; or, where it was none, what to answer."""
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1006))
        data = received.get("bytes")
        try:
            if data is None:
                raise BadChunkError("messages are binary; this was a text frame.")
            return unpack(data, max_bytes=self._service.settings.max_message)
        except ServeError as error:
            return self._refusal(error)

    def _refusal(self, error: BaseException, seq: Any = None) -> Answer:
        return _said(error_message(self._service.as_refusal(error), seq if type(seq) is int else None))

    async def _begin(self, message: Message | Answer) -> Answer:
        """Answer the first message; afterwards `session` is set, unless it was refused."""
        if callable(message):
            return message
        try:
            if message.kind == "open_session":
                opened = await self._open(message)
            elif message.kind == "resume":
                opened = await self._resume(message)
            else:
                raise ServeError("the first message of a socket is open_session or resume.")
        except ServeError as error:
            self._code, self._reason = NO_SESSION, error.code
            return self._refusal(error)
        self.session, self._writer = opened.id, opened.writer
        note("socket opened", token=self._who, session=short(opened.id), how=message.kind)
        return _said(pack(Message("opened", plain(opened))))

    async def _open(self, message: Message) -> Opened:
        body = _valid(schemas.OpenSession, message.fields)

        async def start() -> Opened:
            opened = await self._service.call(self._service.sessions.open, body.seed, body.attention)
            return self._service.opened(self._who, opened, "opened")

        return await self._service.open_once(self._who, body.request_id, start)

    async def _resume(self, message: Message) -> Opened:
        session, writer = message.fields.get("session_id"), message.fields.get("writer")
        if not isinstance(session, str) or not isinstance(writer, str):
            raise NoSessionError("resume needs the session_id and the writer that open_session gave.")
        info = await self._service.call(self._service.sessions.info, session)
        return Opened(session, writer, info.expected)

    async def _take(self, message: Message) -> Answer:
        """Do what a message asks; how to answer it once its turn to be answered comes."""
        began = time.perf_counter()
        while wait := self._service.gate.chunk_wait(self._who, self.session):
            await asyncio.sleep(wait)  # nothing more is read meanwhile: the sender feels it, and nobody else
        try:
            if message.kind == "append":
                future, sound = await self._service.append(self.session, self._writer, message)
                self._write_alone()
                return lambda: self._reply(future, sound, began, message.fields.get("seq"))
            return await self._ask(message)
        except ServeError as error:
            return self._refusal(error, message.fields.get("seq"))

    async def _ask(self, message: Message) -> Answer:
        """A message that is no chunk."""
        sessions, call = self._service.sessions, self._service.call
        if message.kind == "watch_attention":
            body = _valid(schemas.WatchAttention, {**message.fields, "session_id": self.session})
            await call(sessions.watch, self.session, self._writer, body.attention)
        elif message.kind == "close_session":
            await call(sessions.close, self.session, self._writer)
            note("closed", session=short(self.session))
        elif message.kind == "session_info":
            return _said(pack(Message("info", plain(await call(sessions.info, self.session)))))
        else:
            raise ServeError("there is no message of this kind.")
        return _said(pack(Message("done")))

    async def _reply(self, future: Any, sound: str, began: float, seq: Any) -> bytes:
        try:
            return await self._service.reply(future, sound, began)
        except ServeError as error:
            return error_message(error, seq if type(seq) is int else None)

    def _write_alone(self) -> None:
        """A chunk was taken, so the key is right: whoever wrote to this session before does so no more."""
        before = self._service.writing.get(self.session)
        if before is not self:
            self._service.writing[self.session] = self
            if before is not None:
                before.end(TAKEN_OVER, "another socket writes to this session now")


def _said(data: bytes) -> Answer:
    async def answer() -> bytes:
        return data

    return answer


def _valid(schema: type[Body], fields: dict[str, Any]) -> Body:
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])[:200]
        raise ServeError(f"{where}: {first['type'].replace('_', ' ')}.") from None
