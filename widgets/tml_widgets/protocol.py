"""The messages between browser and kernel: small JSON headers with binary buffers beside them.

A buffer's meaning is named in the header's `parts`. Nothing binary is ever a synced trait, because traits are
saved into the notebook.

    up    hello {secure}                     a page shows the widget
          start {video}, stop                the person pressed a button
          pause {page}, resume {seq}         let the session wait; take it up again from chunk `seq` on
          play {clip}                        "play a recording instead"
          chunk {seq, t0, size, parts}       parts: pcm int16 [3200]; rgb uint8 [2, H, W, 3]
          type {text}, save, pick {layer, head}
          cancel {id}, tick {id, entry, done}   of a background task; of an entry of a checklist
          why {turn}                         what did this decision hang on? turn null: the last time it began to speak
          whatif {from, to, parts, typed}    and if these turns had been blank in these parts, or this been typed?
          stats {underruns, ...}, state {state, error}
    down  status {phase, notice, held}       phase: stopped | loading | live | paused | playing | error; held: who
                                             asked for a pause that only `resume` ends; other pages stop listening
          ready {seq}                        the session exists: start sending chunks, from `seq` (or 0) on
          past {turns}                       the last minute's turns, for a page that was loaded anew
          turn {seq, turn, ..., read, parts} read: what each attached reader says; parts: pcm int16 [3200];
                                             attention float32 [4, turns back]; patches float32 [grid]
          heard {turn, text, parts}          what a recorded clip says, to be played: pcm; rgb of one frame
          saved {path}
          fallback {name, messages, failed}  a rehearsed session, message by message, with all their buffers in order;
                                             or why there is none
          why {share, turn, from, to, tried, causes, sentence, layers} or {failed}       again and again, until share 1
          whatif {share}, then {was, would, sentence, parts: was, would} or {failed}     pcm of both ways
          beside {turn, put, remove, tasks, whole}   background tasks, and what has changed on their panel
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.serve.chunk_queue import Chunk

STREAMS = ("heard", "seen", "typed", "own voice")
"""The streams whose share of attention the strip shows, in the order of the `attention` buffer's rows."""

_ROW = {
    "audio_in": 0,
    "video_in": 1,
    "text_in": 2,
    "text_out": 3,
    "audio_out": 3,
}  # a word and its sound are one thing
LOOK_BACK = 300  # turns; a minute is the widest window the strip shows


def _named(content: dict[str, Any], buffers: Sequence[Any]) -> dict[str, Any]:
    parts = content.get("parts", [])
    if len(parts) != len(buffers):
        raise ValueError(
            f"message {content.get('kind')!r} names {len(parts)} parts but carries {len(buffers)} buffers."
        )
    return dict(zip(parts, buffers, strict=True))


def to_pcm(audio: np.ndarray) -> bytes:
    """float [n] in -1..1 -> int16 little-endian bytes (clipped)."""
    scaled = np.clip(np.asarray(audio, dtype=np.float32) * 32768.0, -32768, 32767)
    return np.round(scaled).astype("<i2").tobytes()


def from_pcm(data: Any) -> np.ndarray:
    """int16 little-endian bytes -> float32 [n] in -1..1; the inverse of `to_pcm`."""
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0


def read_chunk(content: dict[str, Any], buffers: Sequence[Any]) -> Chunk:
    """A `chunk` message as a Chunk; the bytes are copied, because Jupyter reuses its buffers.

    Raises ValueError in one sentence when the parts do not have the promised sizes.
    """
    parts = _named(content, buffers)
    audio = from_pcm(bytes(parts["pcm"])) if "pcm" in parts else np.zeros(0, np.float32)
    if audio.shape != (TURN_SAMPLES,):
        raise ValueError(
            f"chunk {content.get('seq')} holds {audio.size} samples of sound; a turn has {TURN_SAMPLES}."
        )
    frames = None
    if "rgb" in parts:
        width, height = (int(side) for side in content["size"])
        pixels = np.frombuffer(bytes(parts["rgb"]), dtype=np.uint8)
        if pixels.size != 2 * height * width * 3:
            raise ValueError(
                f"chunk {content.get('seq')} holds {pixels.size} picture bytes, not 2x{height}x{width}x3."
            )
        frames = pixels.reshape(2, height, width, 3)  # [2, H, W, 3]
    return Chunk(seq=int(content["seq"]), audio=audio, frames=frames, sent_at=content.get("t0"))


def pack_attention(attention: dict[str, Any] | None) -> tuple[bytes | None, list[float] | None]:
    """Pooled attention by stream -> what the strip draws; `(None, None)` when no head is watched.

    Args:
        attention: `{stream: float32 [turns]}`, column n the weight on turn n, by
            `tml_lab.stream.tokens.STREAMS`.

    Returns float32 [4, n] as bytes (rows in the order of STREAMS, column k the weight on the turn k turns
    back, at most LOOK_BACK of them) and each stream's share of *all* the attention.
    """
    if not attention:
        return None, None
    turns = max(len(weights) for weights in attention.values())
    table = np.zeros((len(STREAMS), turns), dtype=np.float32)  # [4, turns]
    for name, weights in attention.items():
        table[_ROW[name]] += np.asarray(weights, dtype=np.float32)
    shares = [round(float(share), 4) for share in table.sum(axis=1)]
    return np.ascontiguousarray(table[:, ::-1][:, :LOOK_BACK]).tobytes(), shares


def heard_message(chunk: Chunk, words: str) -> tuple[dict, list[bytes]]:
    """`(content, buffers)` of a `heard` message: what a recorded clip says in this turn, and one of its pictures."""
    content = {"kind": "heard", "turn": chunk.seq, "text": words, "typed": chunk.text, "parts": ["pcm"]}
    sound = chunk.audio if isinstance(chunk.audio, np.ndarray) else np.zeros(TURN_SAMPLES, np.float32)  # a gap
    buffers = [to_pcm(sound)]
    if chunk.frames is not None:
        height, width = chunk.frames.shape[1:3]
        content |= {"parts": ["pcm", "rgb"], "size": [width, height]}
        buffers.append(chunk.frames[1].tobytes())
    return content, buffers


def turn_message(
    row: dict[str, Any], audio: np.ndarray | None, attention: bytes | None, patches: np.ndarray | None = None
) -> tuple[dict, list[bytes]]:
    """`(content, buffers)` of a `turn` message: header `row` plus the parts there are.

    Args:
        patches: float32 [rows, columns], attention on each patch of the turn's pictures.
    """
    named = {"pcm": None if audio is None else to_pcm(audio), "attention": attention}
    if patches is not None:
        row = {**row, "grid": list(patches.shape)}
        named["patches"] = np.ascontiguousarray(patches, np.float32).tobytes()
    present = {name: data for name, data in named.items() if data is not None}
    return {"kind": "turn", **row, "parts": list(present)}, list(present.values())
