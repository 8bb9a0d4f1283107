"""What a journal's records hold: one turn's input, and what came of it.

A record is one safetensors block, arrays and a JSON header beside them, so that a number read back has the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.pooled import Pooled
from tml_lab.stream.recording import SKIPPED, Sound
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
        lost: turns that its chunk said are lost.
        skipped: whether it passes without the model.
    """

    audio: np.ndarray | None
    frames: np.ndarray | None = None
    text: str | None = None
    watched: tuple[int, int] | None = None
    gap: bool = False
    shed: bool = False
    lost: int = 0
    skipped: bool = False

    @property
    def heard(self) -> Sound:
        """What `Session.step` takes."""
        return SKIPPED if self.skipped else self.audio

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
    """What came of the tape's last turn as a record."""
    turn = tape.last
    assert turn is not None
    looked = turn.attention if isinstance(turn.attention, Pooled) else None
    header = {
        "turn": result.turn, "decision": result.decision, "p_speak": result.p_speak, "text": result.text,
        "words": result.words, "request": result.request, "timings": result.timings, "head": tape.head,
        "note": turn.note,
    }  # fmt: skip
    arrays = {
        "rows": np.array(turn.rows, np.int32).reshape(-1, 2),
        # most turns are silent, to the bit
        "audio": result.audio if result.audio.view(np.uint8).any() else None,
        "voice": turn.voice,
        "seen": None if looked is None else looked.seen,
        "weight": None if looked is None else looked.weight,
    }
    return _pack(header, arrays)


class TurnOut(NamedTuple):
    """A turn read back: its result, and what else the tape has of it."""

    result: TurnResult
    rows: list[tuple[int, int]]
    voice: np.ndarray | None
    attention: Pooled | None
    head: tuple[int, int] | None
    note: str | None


def unpack_output(payload: bytes) -> TurnOut:
    """What `pack_output` wrote. Raises RecordError."""
    header, arrays = _unpack(payload)
    try:
        turn = header["turn"]
        seen = Pooled(turn + 1, arrays["seen"], arrays["weight"]) if "seen" in arrays else None
        result = TurnResult(
            turn, header["decision"], header["p_speak"], header["text"], tuple(header["words"]),
            arrays.get("audio", np.zeros(TURN_SAMPLES, np.float32)), header["timings"], seen, header["request"],
            note=header["note"] or "",
        )  # fmt: skip
        rows = [(int(stream), int(token)) for stream, token in arrays["rows"]]
        head = header["head"] and (header["head"][0], header["head"][1])
        note = header["note"]
    except (KeyError, TypeError, IndexError) as error:
        raise RecordError(f"a record of the journal is not whole: {error} is missing.") from error
    return TurnOut(result, rows, arrays.get("voice"), seen, head, note)


def put_on_tape(tape: Tape, given: TurnIn, out: TurnOut) -> None:
    """Write a turn that was read back on a tape, as the session did when it ran."""
    result = out.result
    tape.head = out.head or tape.head
    if given.skipped:
        tape.skip(result.audio)
        return
    tape.append(
        Turn(
            given.sound, given.frames, given.text, result.decision, result.p_speak, result.words, result.audio,
            out.rows, out.voice, result.timings, out.attention, out.note, given.audio is None,
        )
    )  # fmt: skip
