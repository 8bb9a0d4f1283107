"""The contract's own things as messages, and back: chunks, replies, refusals.

    append   seq, lost, text, sound ("f32" or "s16": the form the reply's sound shall have)
             parts: audio f32 or s16 [3200]; frames u8 [2, H, W, 3] or jpeg
    reply    seq, again, waited, model, shed, turns: [{turn, decision, p_speak, text, words, timings, request,
             note}, ...], the gap turns first and the chunk's own turn last
             parts: audio.N f32, s16 or sparse [3200]; attention.N.STREAM f32 or sparse [turn + 1]
    error    code, sentence, status, retry_after, expected, seq
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.serve import contract
from tml_lab.serve.contract import Append, BadChunkError, Reply, ServeError
from tml_lab.serve.wire import Message, pack
from tml_lab.stream.tokens import STREAMS
from tml_lab.stream.turn_result import TurnResult

SOUNDS = ("f32", "s16")
_ERRORS = {
    kind.code: kind
    for kind in vars(contract).values()
    if isinstance(kind, type) and issubclass(kind, ServeError)
}
_OF_REPLY = ("seq", "again", "waited", "model", "shed")
_PLAIN = ("turn", "decision", "p_speak", "text", "words", "timings", "request", "note")


def append_message(chunk: Append, sound: str = "f32", pictures: str = "u8", **more: Any) -> bytes:
    """A checked chunk as bytes; `sound` and `pictures` (u8 or jpeg) choose the forms."""
    arrays = {"audio": chunk.audio, "frames": chunk.frames}
    fields = {"seq": chunk.seq, "lost": chunk.lost, "text": chunk.text, "sound": sound, **more}
    there = {name: array for name, array in arrays.items() if array is not None}
    return pack(Message("append", fields, there), {"audio": sound, "frames": pictures})


def read_append(message: Message) -> tuple[Append, str]:
    """A chunk, and the form in which its reply's sound is wanted; what is in it is checked by whoever runs it.

    Raises BadChunkError for a message that is none.
    """
    fields, arrays = message.fields, message.arrays
    if unknown := set(arrays) - {"audio", "frames"}:
        raise BadChunkError(f"a chunk has the parts audio and frames, and not {len(unknown)} others.")
    seq, lost, text = fields.get("seq"), fields.get("lost", 0), fields.get("text")
    sound = fields.get("sound", "f32")
    if sound not in SOUNDS:
        raise BadChunkError("sound must be f32 or s16.")
    if type(seq) is not int or type(lost) is not int or not isinstance(text, str | None):
        raise BadChunkError("seq and lost must be whole numbers, and text a string or null.")
    return Append(seq, arrays.get("audio"), arrays.get("frames"), text, lost), sound


def reply_message(reply: Reply, sound: str = "f32") -> bytes:
    """A reply as bytes."""
    turns = [*reply.gaps, reply.turn]
    plain = [{name: getattr(turn, name) for name in _PLAIN} for turn in turns]
    fields = {name: getattr(reply, name) for name in _OF_REPLY} | {"turns": plain}
    arrays: dict[str, np.ndarray] = {}
    for n, turn in enumerate(turns):
        arrays[f"audio.{n}"] = turn.audio
        arrays |= {f"attention.{n}.{stream}": weight for stream, weight in (turn.attention or {}).items()}
    forms = {name: "sparse" if name.startswith("attention") or sound == "f32" else sound for name in arrays}
    return pack(Message("reply", fields, arrays), forms)


def read_reply(message: Message) -> Reply:
    """A reply, as the session gave it. Raises BadChunkError when it is none."""
    try:
        fields, turns = message.fields, []
        for n, plain in enumerate(fields["turns"]):
            seen = {s: message.arrays[name] for s in STREAMS if (name := f"attention.{n}.{s}") in message.arrays}
            audio = message.arrays[f"audio.{n}"]
            if audio.shape != (TURN_SAMPLES,):
                raise ValueError("sound")
            plain = {**{name: plain[name] for name in _PLAIN}, "words": tuple(plain["words"])}
            turns.append(TurnResult(**plain, audio=audio, attention=seen or None))
        return Reply(turn=turns[-1], gaps=tuple(turns[:-1]), **{name: fields[name] for name in _OF_REPLY})
    except (KeyError, TypeError, ValueError, IndexError):
        raise BadChunkError("the server's reply cannot be read: are both sides of one version?") from None


def error_fields(error: ServeError) -> dict[str, Any]:
    """A refusal as plain data, for JSON."""
    return {
        "code": error.code, "sentence": str(error), "status": error.status,
        "retry_after": error.retry_after, "expected": error.expected,
    }  # fmt: skip


def error_message(error: ServeError, seq: int | None = None) -> bytes:
    """A refusal as bytes; `seq` is the chunk's number where it is about one."""
    return pack(Message("error", {**error_fields(error), "seq": seq}))


def read_error(fields: dict[str, Any], status: int = 400) -> ServeError:
    """A refusal as the exception it was on the other side."""
    sentence, code = fields.get("sentence"), fields.get("code")
    kind = _ERRORS.get(code, ServeError) if isinstance(code, str) else ServeError
    wait, expected = fields.get("retry_after"), fields.get("expected")
    return kind(
        sentence if isinstance(sentence, str) else f"the server answered with status {status}.",
        float(wait) if isinstance(wait, int | float) else None,
        expected if isinstance(expected, int) else None,
    )


def plain(thing: Any) -> dict[str, Any]:
    """A dataclass of the contract as plain data, with the wire's name for the session's name (SGLang's)."""
    fields = asdict(thing)
    return {"session_id": fields.pop("id"), **fields}
