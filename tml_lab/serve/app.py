"""The session server: HTTP and WebSocket in front of any `Sessions`.

    POST /open_session     -> session_id, writer (the key of the one writer), expected
    POST /append           one 200 ms chunk as a message (see wire.py) -> the reply as a message
    POST /fork_session, /watch_attention, /close_session
    GET  /session_info, /recording (a zip), /health, /metrics
    WebSocket /stream      the same messages, pipelined (see duplex.py)

The writer's key goes into the header Writer-Key; the token into Authorization: Bearer.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.security import HTTPBearer
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from tml_lab import __version__
from tml_lab.serve.contract import BusyError, ServeError, Sessions
from tml_lab.serve.duplex import serve_socket
from tml_lab.serve.gate import Settings
from tml_lab.serve.guard import Guard, refusal_headers
from tml_lab.serve.json_lines import note, short
from tml_lab.serve.messages import error_fields, plain
from tml_lab.serve.page import PAGE
from tml_lab.serve.schemas import (
    CloseSession,
    Done,
    ForkSession,
    Health,
    Info,
    Opened,
    OpenSession,
    Refusal,
    SessionId,
    WatchAttention,
)
from tml_lab.serve.service import Service
from tml_lab.serve.wire import MEDIA_TYPE, unpack

BINARY = {"schema": {"type": "string", "format": "binary"}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": text}
    for status, text in {
        400: "Refused", 403: "Token, origin or writer's key", 404: "No such session", 409: "A chunk is missing",
        413: "Too large", 422: "The request is not as it should be", 429: "No room now", 500: "The server failed",
    }.items()
}  # fmt: skip
WriterKey = Annotated[str, Header(alias="Writer-Key", max_length=256, description="The key that open_session gave.")]
Asked = Annotated[SessionId, Query()]
BLOCK = 1 << 18  # bytes of a recording sent at once


def create_app(
    sessions: Sessions,
    settings: Settings | None = None,
    engine_metrics: Callable[[], CollectorRegistry | None] = lambda: None,
    waking: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """The application.

    Args:
        sessions: an engine, or anything else that keeps the contract.
        settings: tokens, origins and limits.
        engine_metrics: the engine's own counts, for /metrics.
        waking: whether the model is still being loaded.
    """
    service = Service(sessions, settings or Settings(), engine_metrics)
    app = FastAPI(
        title="TML Lab session server", version=__version__, responses=REFUSALS, docs_url=None, redoc_url=None
    )  # fmt: skip
    guarded = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))])  # for the schema: the guard has looked
    _add_sessions(guarded, service)
    _add_outlook(app, guarded, service, waking)
    app.include_router(guarded)
    _add_errors(app, service)

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await serve_socket(socket, service)

    app.add_middleware(Guard, service=service)
    app.add_middleware(
        CORSMiddleware, allow_origins=list(service.settings.origins), allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Writer-Key", "X-Session-Id"],
    )  # fmt: skip
    return app


def _add_sessions(guarded: APIRouter, service: Service) -> None:
    """The calls that are about one session."""
    sessions = service.sessions

    @guarded.post("/open_session")
    async def open_session(request: Request, body: OpenSession) -> Opened:
        """Open a session."""
        who = request.state.who

        async def start() -> Any:
            return service.opened(who, await service.call(sessions.open, body.seed, body.attention), "opened")

        return Opened(**plain(await service.open_once(who, body.request_id, start)))

    @guarded.post("/fork_session")
    async def fork_session(request: Request, body: ForkSession) -> Opened:
        """Open a session with the past of another one."""
        who, at = request.state.who, body.at_seconds if body.at_turn is None else body.at_turn

        async def start() -> Any:
            opened = await service.call(sessions.fork, body.session_id, at, slow=True)
            return service.opened(who, opened, "forked")

        return Opened(**plain(await service.open_once(who, body.request_id, start)))

    @guarded.post(
        "/append", response_class=Response, responses={200: {"content": {MEDIA_TYPE: BINARY}}},
        openapi_extra={"requestBody": {"required": True, "content": {MEDIA_TYPE: BINARY}}},
    )  # fmt: skip
    async def append(request: Request, session_id: Asked, writer: WriterKey) -> Response:
        """Append one chunk of 200 ms and wait for its reply; sent again, it gets the reply that it got."""
        began = time.perf_counter()
        service.limit_chunks(request.state.who, session_id)
        message = unpack(await request.body(), max_bytes=service.settings.max_message)
        future, sound = await service.append(session_id, writer, message)
        try:
            async with asyncio.timeout(service.settings.patience):
                data = await service.reply(future, sound, began)
        except TimeoutError:
            raise BusyError("the chunk still waits for its turn: send the same one again.", retry_after=1.0) from None
        return Response(data, media_type=MEDIA_TYPE)

    @guarded.post("/watch_attention")
    async def watch_attention(body: WatchAttention, writer: WriterKey) -> Done:
        """Choose the head whose attention the replies carry."""
        await service.call(sessions.watch, body.session_id, writer, body.attention)
        return Done()

    @guarded.post("/close_session")
    async def close_session(body: CloseSession, writer: WriterKey) -> Done:
        """End a session; closing twice is no error to the writer."""
        await service.call(sessions.close, body.session_id, writer)
        note("closed", session=short(body.session_id))
        return Done()

    @guarded.get("/session_info")
    async def session_info(session_id: Asked) -> Info:
        """How a session stands."""
        return Info(**plain(await service.call(sessions.info, session_id)))

    @guarded.get(
        "/recording", response_class=StreamingResponse, responses={200: {"content": {"application/zip": BINARY}}}
    )
    async def recording(session_id: Asked) -> StreamingResponse:
        """Everything so far as one zip file, which `Recording.load` reads."""
        file = await service.call(_zipped, sessions, session_id, slow=True)
        headers = {"Content-Disposition": 'attachment; filename="recording.tml.zip"', "Content-Length": str(file[1])}
        return StreamingResponse(_blocks(file[0]), media_type="application/zip", headers=headers)


def _zipped(sessions: Sessions, session: str) -> tuple[IO[bytes], int]:
    file = tempfile.TemporaryFile(prefix="tml-recording-")  # noqa: SIM115  (it lives until it is sent)
    with tempfile.TemporaryDirectory(prefix="tml-recording-") as folder:
        written = sessions.recording(session).save(Path(folder) / "recording.tml.zip")
        file.write(written.read_bytes())
    size = file.tell()
    file.seek(0)
    return file, size


async def _blocks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while block := await to_thread.run_sync(file.read, BLOCK):
            yield block


def _add_outlook(app: FastAPI, guarded: APIRouter, service: Service, waking: Callable[[], bool]) -> None:
    """What says how the server is."""

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"})

    @app.get("/health", responses={503: {"model": Health, "description": "The model is being loaded"}})
    async def health(response: Response) -> Health:
        """Whether the server takes sessions; needs no token."""
        if not waking():
            return Health(status="ok")
        response.status_code, response.headers["Retry-After"] = 503, "1"
        return Health(status="waking")

    text = {"text/plain": {"schema": {"type": "string"}}}

    @guarded.get("/metrics", response_class=Response, responses={200: {"content": text}})
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(await to_thread.run_sync(service.metrics), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI, service: Service) -> None:
    """Every refusal is one sentence in one form, and quotes nothing of what was sent."""

    def respond(error: ServeError, status: int | None = None) -> Response:
        fields = {**error_fields(error), "status": status or error.status}
        headers = {name.decode(): value.decode() for name, value in refusal_headers(error)}
        return Response(Refusal(**fields).model_dump_json(), fields["status"], headers)

    @app.exception_handler(ServeError)
    async def refuse(_: Request, error: ServeError) -> Response:
        return respond(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])[:200]
        return respond(service.as_refusal(ServeError(f"{where}: {first['type'].replace('_', ' ')}.")), 422)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        response = respond(ServeError(f"{error.detail}."), error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return respond(service.as_refusal(error))
