"""Camera pictures as JPEG, by FFmpeg (the package `av`): a tenth of the bytes, and no longer the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from tml_lab.serve.contract import BadChunkError, ServeError
from tml_lab.signal.patches import MAX_EDGE

_WITHOUT_AV = 'pictures as JPEG need the package av: pip install "tml-lab[lab]", or send them as u8.'


def _codec(mode: Literal["r", "w"]) -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise ServeError(_WITHOUT_AV) from None
    create: Any = av.CodecContext.create
    return create("mjpeg", mode)


def encode_jpeg(picture: np.ndarray) -> bytes:
    """uint8 [H, W, 3] RGB -> the bytes of a JPEG file."""
    codec = _codec("w")
    from av import VideoFrame

    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 10)
    codec.options = {"qmin": "2", "qmax": "4"}
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def decode_jpeg(data: memoryview, sizes: Sequence[int], room: int) -> np.ndarray:
    """JPEG files back to back -> uint8 [files, H, W, 3], at most `room` bytes of it. Raises BadChunkError."""
    pixels = min(room // (3 * max(1, len(sizes))), MAX_EDGE * MAX_EDGE)
    pictures, start = [], 0
    for size in sizes:
        pictures.append(_decode(bytes(data[start : start + size]), pixels))
        start += size
    if len({picture.shape for picture in pictures}) != 1:
        raise BadChunkError("the pictures of one turn must have one size.")
    return np.stack(pictures)  # [files, H, W, 3]


def _decode(data: bytes, pixels: int) -> np.ndarray:
    codec = _codec("r")
    from av import Packet
    from av.error import FFmpegError

    # A file of a hundred bytes can claim 65535x65535 pixels: FFmpeg refuses before it makes room for them.
    codec.options = {"max_pixels": str(max(1, pixels)), "err_detect": "explode"}
    codec.thread_count = 1
    try:
        frames = [*codec.decode(Packet(data)), *codec.decode(None)]
        if len(frames) == 1:
            return frames[0].to_ndarray(format="rgb24")  # [H, W, 3]
    except (FFmpegError, ValueError, MemoryError):
        pass
    raise BadChunkError("a picture is not a whole JPEG of the size that a message may hold.")
