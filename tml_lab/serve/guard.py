"""The server's outer door, before any of its own code: who calls, how often, and how large a body is.

A body is read whole, up to its limit, before anything looks at it, and only from callers who may come in.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tml_lab.serve.contract import ServeError, TooLongError
from tml_lab.serve.json_lines import note
from tml_lab.serve.messages import error_fields
from tml_lab.serve.service import Service

OPEN = ("/", "/health")  # without a token: a page without content, and whether the server lives
BODY_SECONDS = 30.0  # for a whole body


class Guard:
    """ASGI middleware around the HTTP side; a WebSocket passes through, and is met by its own door."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), [500]

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            self._admit(scope)
            body = await _body(Headers(scope=scope), receive, self._service.settings.max_message)
        except ServeError as error:
            await _refuse(self._service.as_refusal(error), watched)
        except _Gone:
            return
        else:
            await self._app(scope, _replay(body, receive), watched)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self._service.requests.labels(path, str(status[0])).inc()
            note(
                "request", 10 if path in ("/append", "/health", "/metrics") and status[0] < 400 else 20,
                method=scope["method"], path=path, status=status[0], token=scope.get("state", {}).get("who"),
                seconds=round(time.perf_counter() - began, 4),
            )  # fmt: skip

    def _admit(self, scope: Scope) -> None:
        scope.setdefault("state", {})["who"] = None
        if scope["path"] in OPEN or scope["method"] == "OPTIONS":
            return
        address = scope["client"][0] if scope.get("client") else ""
        who = self._service.gate.admit(Headers(scope=scope), address, scheme=scope["scheme"])
        self._service.limit_calls(who)
        scope["state"]["who"] = who


class _Gone(Exception):
    """The caller went away before all of the body had come."""


async def _body(headers: Mapping[str, str], receive: Receive, most: int) -> bytes:
    """The whole body. Raises TooLongError above `most` bytes, and when it takes too long to come."""
    sentence = f"a request may have at most {most} bytes."
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > most:
        raise TooLongError(sentence)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > most:
                    raise TooLongError(sentence)
                if not message.get("more_body", False):
                    return b"".join(pieces)
    except TimeoutError:
        raise TooLongError(f"the request took longer than {BODY_SECONDS:.0f} s to come.") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(error: ServeError, send: Send) -> None:
    await send({"type": "http.response.start", "status": error.status, "headers": refusal_headers(error)})
    await send({"type": "http.response.body", "body": json.dumps(error_fields(error)).encode()})


def refusal_headers(error: ServeError) -> list[tuple[bytes, bytes]]:
    """Content type, and how long to wait where waiting helps; HTTP counts it in whole seconds."""
    headers: list[tuple[bytes, Any]] = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after + 0.5))).encode()))
    return headers
