"""The JSON bodies of the server's HTTP calls, as the OpenAPI schema shows them.

Names follow SGLang's sessions where these have the same thing: `open_session`, `close_session`, `session_id`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 3.0 is the whole number 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Index = Annotated[int, Field(ge=0, lt=4096), BeforeValidator(_whole)]
Head = tuple[Index, Index]
SessionId = Annotated[str, Field(min_length=1, max_length=128, description="The session's name.")]
RequestId = Annotated[
    str | None,
    Field(default=None, min_length=8, max_length=64, description="Chosen by the caller: asked twice, it is done once."),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class OpenSession(_Body):
    """A fresh session."""

    seed: Annotated[
        int, Field(ge=0, lt=2**53, description="Of the session's own noise."), BeforeValidator(_whole)
    ] = 0
    attention: Annotated[Head | None, Field(strict=False, description="Layer and head to watch.")] = None
    request_id: RequestId = None


class ForkSession(_Body):
    """A new session with the past of another one; before a turn, before a second, or now when neither is given."""

    session_id: SessionId
    at_turn: Annotated[int | None, Field(ge=0, lt=2**31), BeforeValidator(_whole)] = None
    at_seconds: Annotated[float | None, Field(ge=0, lt=2**31)] = None
    request_id: RequestId = None


class WatchAttention(_Body):
    """Choose the head whose attention the replies carry; null: none."""

    session_id: SessionId
    attention: Annotated[Head | None, Field(strict=False, description="Layer and head to watch.")]


class CloseSession(_Body):
    """End a session."""

    session_id: SessionId


class Opened(BaseModel):
    """A session that was opened: its name, the key of its one writer, and the chunk number it waits for."""

    session_id: str
    writer: str
    expected: int


class Info(BaseModel):
    """How a session stands: the chunk number it waits for, turns run, seconds since the last chunk, bytes kept; whether
    its model was taught to ask a background model, which the caller may put beside it; the heads of each layer."""

    session_id: str
    expected: int
    turns: int
    idle: float
    kept: int
    restored: str
    may_ask: bool = False
    heads: tuple[int, ...] = ()


class Done(BaseModel):
    """The call was carried out."""

    ok: bool = True


class Health(BaseModel):
    """Whether the server takes sessions: `ok`, or `waking` while the model is loaded."""

    status: str


class Refusal(BaseModel):
    """Why a call was refused: a code for programs and one sentence for people."""

    code: str
    sentence: str
    status: int
    retry_after: float | None = None
    expected: int | None = None
