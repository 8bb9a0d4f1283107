"""The form of a message, the same in an HTTP body and in a WebSocket frame: a small JSON header and raw arrays.

    b"TML1"  uint32 little-endian: bytes of the header  header (JSON, UTF-8)  parts back to back

    {"kind": "append", "seq": 7, "text": null, "parts": [["audio", "f32", [3200]], ["frames", "jpeg", [4012, 4077]]]}

A part is named in the header with its form and its shape, in the order in which it follows:

    f32     float32 little-endian, bit for bit
    s16     int16 little-endian, of -1..1 (half the bytes; rounded)
    u8      bytes, such as RGB pictures [2, H, W, 3]
    sparse  [n, k]: of a float32 [n] the k entries that are not zero, uint32 positions and then float32; exact as well
    jpeg    pictures of one size; the shape lists the bytes of each, and the array is uint8 [pictures, H, W, 3]

Anything else is refused in one sentence: a reader never trusts a length that it has not checked.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tml_lab.serve.contract import BadChunkError
from tml_lab.serve.jpeg import decode_jpeg, encode_jpeg

MAGIC = b"TML1"
MEDIA_TYPE = "application/vnd.tml"
MAX_MESSAGE = 4 << 20  # bytes; two raw pictures of 640x480 have 1.8 MB
MAX_HEADER = 1 << 16  # bytes of a header that a server reads
MAX_PARTS = 4  # in a message that a server reads
_LENGTH = struct.Struct("<I")
_PCM = np.float32(32768.0)


@dataclass
class Message:
    """One message: its kind, the other fields of its header, and its arrays by name."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def to_pcm(audio: np.ndarray) -> bytes:
    """float [n] in -1..1 -> int16 little-endian bytes (clipped)."""
    scaled = np.clip(np.asarray(audio, np.float32) * _PCM, -32768, 32767)
    return np.round(scaled).astype("<i2").tobytes()


def from_pcm(data: Any) -> np.ndarray:
    """int16 little-endian bytes -> float32 [n] in -1..1; the inverse of `to_pcm`."""
    return np.frombuffer(data, "<i2").astype(np.float32) / _PCM


def pack(message: Message, forms: Mapping[str, str] | None = None) -> bytes:
    """A message as bytes.

    Args:
        forms: the form of a part where it shall not be what its type says (f32 or u8): "s16", "jpeg" or "sparse"; the
            last is used only where it is smaller.
    """
    parts, body = [], []
    for name, array in message.arrays.items():
        form, shape, data = _encode(np.asarray(array), (forms or {}).get(name))
        parts.append([name, form, shape])
        body.append(data)
    header = json.dumps({"kind": message.kind, **message.fields, "parts": parts}, separators=(",", ":")).encode()
    return b"".join([MAGIC, _LENGTH.pack(len(header)), header, *body])


def _encode(array: np.ndarray, form: str | None) -> tuple[str, list[int], bytes]:
    if array.dtype == np.uint8:
        if form == "jpeg":
            pictures = [encode_jpeg(picture) for picture in array]
            return "jpeg", [len(data) for data in pictures], b"".join(pictures)
        return "u8", list(array.shape), np.ascontiguousarray(array).tobytes()
    if form == "s16":
        return "s16", list(array.shape), to_pcm(array)
    exact = np.ascontiguousarray(array, "<f4")
    if form == "sparse" and exact.ndim == 1:
        at = np.flatnonzero(exact.view(np.uint32)).astype("<u4")  # by bits: -0.0 stays what it is
        if 2 * len(at) < len(exact):
            return "sparse", [len(exact), len(at)], at.tobytes() + exact[at].tobytes()
    return "f32", list(exact.shape), exact.tobytes()


def unpack(
    data: bytes, max_header: int = MAX_HEADER, max_parts: int = MAX_PARTS, max_bytes: int = MAX_MESSAGE
) -> Message:
    """Bytes as a message; the arrays are views of them. Raises BadChunkError, in one sentence.

    Args:
        max_bytes: of all the arrays together once they are read: a picture or a sparse part grows.
    """
    if len(data) < 8 or bytes(data[:4]) != MAGIC:
        raise BadChunkError("this is no message: it must begin with TML1 and the length of its header.")
    (length,) = _LENGTH.unpack_from(data, 4)
    if length > min(max_header, len(data) - 8):
        raise BadChunkError(f"the message promises a header of {length} bytes, which is more than it may have or has.")
    header = _header(bytes(data[8 : 8 + length]))
    kind, parts = header.pop("kind", None), header.pop("parts", [])
    if not isinstance(kind, str) or not isinstance(parts, list) or len(parts) > max_parts:
        raise BadChunkError(f"a header needs a kind, and parts as a list of at most {max_parts}.")
    arrays: dict[str, np.ndarray] = {}
    rest, room = memoryview(data)[8 + length :], max_bytes
    for part in parts:
        name, form, shape = _part(part)
        if name in arrays:
            raise BadChunkError("the message has two parts of one name.")
        used, arrays[name] = _decode(form, shape, rest, room)
        rest, room = rest[used:], room - arrays[name].nbytes
    if len(rest):
        raise BadChunkError(f"{len(rest)} bytes are left over after the parts that the header names.")
    return Message(kind, header, arrays)


def _header(data: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        header = json.loads(data, parse_constant=refuse)  # Python alone would take NaN and Infinity
    except (ValueError, RecursionError):
        raise BadChunkError("the header of the message is not valid JSON.") from None
    if not isinstance(header, dict):
        raise BadChunkError("the header of the message is not a JSON object.")
    return header


def _part(part: Any) -> tuple[str, str, list[int]]:
    whole = isinstance(part, list) and len(part) == 3 and isinstance(part[0], str) and isinstance(part[1], str)
    if not whole or not isinstance(part[2], list) or not 1 <= len(part[2]) <= 4:
        raise BadChunkError("each part is [name, form, shape], with a shape of one to four sizes.")
    if not all(type(n) is int and 0 <= n < 2**31 for n in part[2]):
        raise BadChunkError("the sizes of a part must be whole numbers from 0 on.")
    return part[0], part[1], part[2]


_WIDTH = {"f32": 4, "s16": 2, "u8": 1}


def _decode(form: str, shape: list[int], data: memoryview, room: int) -> tuple[int, np.ndarray]:
    """Bytes used, and the array: float32 or uint8, at most `room` bytes of it."""
    if form == "jpeg":
        used = sum(shape)
        _enough(used, data)
        return used, decode_jpeg(data, shape, room)
    if form == "sparse":
        if len(shape) != 2 or shape[1] > shape[0] or 4 * shape[0] > room:
            raise BadChunkError("a sparse part must have the shape [length, entries], and fit into a message.")
        used = 8 * shape[1]
        _enough(used, data)
        at, values = np.frombuffer(data[: used // 2], "<u4"), np.frombuffer(data[used // 2 : used], "<f4")
        if len(at) and int(at.max()) >= shape[0]:
            raise BadChunkError("a sparse part has an entry beyond its length.")
        whole = np.zeros(shape[0], np.float32)
        whole[at] = values
        return used, whole
    if form not in _WIDTH:
        raise BadChunkError("the form of a part is one of f32, s16, u8, sparse, jpeg.")
    used = math.prod(shape) * _WIDTH[form]
    if used > room:
        raise BadChunkError(f"a part of {used} bytes is more than a message may hold.")
    _enough(used, data)
    if form == "s16":
        return used, from_pcm(data[:used]).reshape(shape)
    array = np.frombuffer(data[:used], "<f4" if form == "f32" else np.uint8)
    return used, array.reshape(shape).astype(array.dtype.newbyteorder("="), copy=False)


def _enough(used: int, data: memoryview) -> None:
    if used > len(data):
        raise BadChunkError(f"the message ends early: a part needs {used} bytes and {len(data)} are left.")
