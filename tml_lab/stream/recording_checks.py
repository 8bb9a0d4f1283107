"""What the header and the columns of a recording on disk must be: checked once, when it is loaded.

A file may have been cut off, edited, or made to do harm. What is wrong is said here, in one sentence, so that
nothing behind it needs to wonder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tml_lab.config import OUT_DIM
from tml_lab.stream.recording import RecordingError
from tml_lab.stream.tokens import STREAMS

MOST_TURNS = 24 * 3600 * 5  # a day
Turn = Annotated[int, Field(ge=0, lt=MOST_TURNS)]


class _Watched(BaseModel):
    layer: int
    head: int
    streams: list[str] = Field(max_length=64)


class _Change(BaseModel):
    model_config = ConfigDict(extra="allow")
    turn: Turn


class _Header(BaseModel):
    """`recording.json`; what else it holds is let through."""

    model_config = ConfigDict(extra="allow")
    turns: Annotated[int, Field(ge=0, le=MOST_TURNS)]
    input_turns: Annotated[int, Field(ge=0, le=MOST_TURNS)]
    seed: int
    checkpoint: dict[str, str | None]
    config: dict[str, Any]
    typed: list[tuple[Turn, str]]
    words: list[tuple[Turn, str]]
    decisions: list[str]
    token_names: dict[int, str]
    timings: list[str]
    about: dict[str, Any]
    attention: _Watched | None = None
    panel: list[_Change] = Field(default_factory=list)
    gaps: list[Turn] = Field(default_factory=list)
    skipped: list[Turn] = Field(default_factory=list)


def check_header(header: Mapping[str, Any], what: str) -> None:
    """Raises RecordingError for a header that lacks something, or holds it in another form."""
    try:
        read = _Header.model_validate(header)
    except (ValidationError, RecursionError) as error:
        reason = "it is nested too deeply"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            reason = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"
        raise RecordingError(f"{what} is not a whole header ({reason}): the file was edited or damaged.") from error
    if late := [turn for turn, _ in read.words if turn >= read.turns]:
        raise RecordingError(f"{what} has words in turn {late[0]} of {read.turns}: the file was edited or damaged.")


def check_columns(header: Mapping[str, Any], columns: Mapping[str, np.ndarray], what: str) -> None:
    """Raises RecordingError for columns that are missing, of another kind or length, or out of range.

    Args:
        header: as `check_header` found it.
        columns: of `turns.safetensors`.
    """
    turns = header["turns"]
    positions = len(columns["tokens.turn"]) if "tokens.turn" in columns else 0
    wanted: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "decision": ("iu", (turns,)), "p_speak": ("f", (turns,)), "voice": ("u", (None, OUT_DIM)),
        "tokens.stream": ("u", (positions,)), "tokens.turn": ("i", (positions,)),
        "tokens.slot": ("i", (positions,)), "tokens.id": ("i", (positions,)),
        **{f"timings.{stage}": ("f", (turns,)) for stage in header["timings"]},
    }  # fmt: skip
    if header.get("attention"):
        streams = len(header["attention"]["streams"])
        wanted |= {"attention.lag": ("f", (turns, streams, None)), "attention.share": ("f", (turns, streams))}
    for name, (kind, shape) in wanted.items():
        _check_form(columns, name, kind, shape, what)
    _check_range(what, "decision", columns["decision"], 0, len(header["decisions"]))
    _check_range(what, "tokens.stream", columns["tokens.stream"], 0, len(STREAMS))
    _check_range(what, "tokens.turn", columns["tokens.turn"], 0, turns)
    if (np.diff(columns["tokens.turn"].astype(np.int64)) < 0).any():
        raise RecordingError(f"{what}: the turns of its positions do not ascend; it was edited or damaged.")
    texts = [code for code, name in enumerate(STREAMS) if name.startswith("text_")]
    if (np.isin(columns["tokens.stream"], texts) & (columns["tokens.id"] < 0)).any():
        raise RecordingError(f"{what}: a position of text has no token; it was edited or damaged.")
    if not np.isfinite(columns["p_speak"]).all():
        raise RecordingError(f"{what}: p_speak holds what is no number; it was edited or damaged.")


def _check_form(
    columns: Mapping[str, np.ndarray], name: str, kind: str, shape: tuple[int | None, ...], what: str
) -> None:
    """`kind` as in `dtype.kind`; a None in `shape` is any length."""
    if name not in columns:
        raise RecordingError(f"{what} lacks the column {name}: it was edited, or belongs to another recording.")
    found = columns[name]
    fits = found.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, found.shape, strict=True))
    if not fits or found.dtype.kind not in kind:
        should = ["any" if n is None else n for n in shape]
        raise RecordingError(
            f"{what}: the column {name} is {found.dtype} {list(found.shape)} and should be {should}; the files belong "
            "to different recordings, or were edited."
        )


def _check_range(what: str, name: str, values: np.ndarray, low: int, end: int) -> None:
    wrong = (values < low) | (values >= end)
    if wrong.any():
        raise RecordingError(
            f"{what}: the column {name} holds {values[wrong][0]}, outside {low}..{end - 1}; it was edited or damaged."
        )
