"""Pictures made smaller, and as JPEG, with PyAV; where it is missing, `NO_PYAV` is said."""

from __future__ import annotations

import importlib.util
from fractions import Fraction

import numpy as np

NO_PYAV = "the package av is missing: pip install av"


def can_encode() -> bool:
    """Whether PyAV is there."""
    return importlib.util.find_spec("av") is not None


def small(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> [height, width, 3]."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return frame.reformat(width=width, height=height, interpolation="AREA").to_ndarray(format="rgb24")


def jpeg(picture: np.ndarray) -> bytes:
    """RGB uint8 [H, W, 3] as a JPEG file."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "yuvj420p"
    codec.options = {"flags": "+qscale", "global_quality": str(5 * 118)}  # 118: FF_QP2LAMBDA
    codec.time_base = Fraction(1, 10)
    frame = frame.reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
