"""What a journal's records hold: one turn's input, and what came of it.

A record is one safetensors block, arrays and a JSON header beside them, so that a number read back has the same bits.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.layout import Stream
from tml_lab.stream.tape import Tape, Turn
from tml_lab.stream.turn_result import TurnResult

HEADER = "header"  # the JSON, as bytes among the arrays


class TurnIn(NamedTuple):
    """What one turn is given.

    Args:
        audio: float32 [3200]; None: nothing was heard.
        frames: uint8 [2, H, W, 3], or None. text: words typed, or None.
        watched: `(layer, head)` whose attention is looked at, or None.
        gap: whether it stands for a chunk that never came.
        shed: whether its pictures were left out, because it was late.
        lost: gap turns that its chunk asked for.
    """

    audio: np.ndarray | None
    frames: np.ndarray | None = None
    text: str | None = None
    watched: tuple[int, int] | None = None
    gap: bool = False
    shed: bool = False
    lost: int = 0

    @property
    def sound(self) -> np.ndarray:
        """float32 [3200]; a gap is heard as silence."""
        return np.zeros(TURN_SAMPLES, np.float32) if self.audio is None else self.audio


class RecordError(ValueError):
    """A record cannot be read; one sentence."""


def _pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray | None]) -> bytes:
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
    return save({HEADER: text, **held})


def _unpack(payload: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        arrays = load(payload)
        return json.loads(arrays.pop(HEADER).tobytes()), arrays
    except (SafetensorError, KeyError, ValueError) as error:
        raise RecordError(f"a record of the journal cannot be read ({error}).") from error


def pack_input(given: TurnIn) -> bytes:
    """One turn's input as a record."""
    header = given._asdict()
    arrays = {name: header.pop(name) for name in ("audio", "frames")}
    return _pack(header, arrays)


def unpack_input(payload: bytes) -> TurnIn:
    """The input that `pack_input` wrote. Raises RecordError."""
    header, arrays = _unpack(payload)
    watched = header.pop("watched", None)
    try:
        given = TurnIn(arrays.get("audio"), arrays.get("frames"), **header)
    except TypeError as error:
        raise RecordError(f"a record of the journal is of another version ({error}).") from error
    return given if watched is None else given._replace(watched=(watched[0], watched[1]))


def pack_output(result: TurnResult, tape: Tape) -> bytes:
    """What came of the tape's last turn as a record; the attention as the tape sums it up."""
    rows = np.array([tape.rows[0], tape.rows[3]], np.int32)[:, bisect_left(tape.rows[1], result.turn) :]  # [2, n]
    lag, share = tape.attention[-1] or (None, None)
    header = {
        "turn": result.turn, "decision": result.decision, "p_speak": result.p_speak, "text": result.text,
        "words": result.words, "request": result.request, "timings": result.timings, "head": tape.head,
    }  # fmt: skip
    spoke = bool((rows[0] == Stream.AUDIO_OUT).any())
    arrays = {
        "rows": rows,
        # most turns are silent, to the bit
        "audio": result.audio if result.audio.view(np.uint8).any() else None,
        "voice": tape.voice[-1] if spoke else None,
        "lag": lag,
        "share": share,
    }
    return _pack(header, arrays)


class TurnOut(NamedTuple):
    """A turn read back: its result (without the attention, which is not kept whole), and what the tape has of it."""

    result: TurnResult
    rows: list[tuple[int, int]]
    voice: np.ndarray | None
    attention: tuple[np.ndarray, np.ndarray] | None
    head: tuple[int, int] | None


def unpack_output(payload: bytes) -> TurnOut:
    """What `pack_output` wrote. Raises RecordError."""
    header, arrays = _unpack(payload)
    try:
        result = TurnResult(
            header["turn"], header["decision"], header["p_speak"], header["text"], tuple(header["words"]),
            arrays.get("audio", np.zeros(TURN_SAMPLES, np.float32)), header["timings"], None, header["request"],
        )  # fmt: skip
        rows = [(int(stream), int(token)) for stream, token in arrays["rows"].T]
        seen = (arrays["lag"], arrays["share"]) if "lag" in arrays else None
        head = header["head"] and (header["head"][0], header["head"][1])
    except (KeyError, TypeError, IndexError) as error:
        raise RecordError(f"a record of the journal is not whole: {error} is missing.") from error
    return TurnOut(result, rows, arrays.get("voice"), seen, head)


def put_on_tape(tape: Tape, given: TurnIn, out: TurnOut) -> None:
    """Write a turn that was read back on a tape, as the session did when it ran."""
    result = out.result
    tape.append(
        Turn(
            given.sound, given.frames, given.text, result.decision, result.p_speak, result.words, result.audio,
            out.rows, out.voice, result.timings,
        )
    )  # fmt: skip
    tape.attention[-1] = out.attention
    tape.head = out.head or tape.head
