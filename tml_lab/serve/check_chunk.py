"""A chunk as it comes in: checked, before it waits for its turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tml_lab.config import CLOCK_DIGITS
from tml_lab.serve.contract import Append, BadChunkError
from tml_lab.serve.limits import Limits
from tml_lab.signal.errors import SignalError
from tml_lab.signal.patches import check_frames, n_patches
from tml_lab.stream.turn_input import SessionError, check_audio, check_text


def check_chunk(chunk: Append, limits: Limits) -> Append:
    """The chunk, with copies of its own of sound and pictures. Raises BadChunkError, in one sentence."""
    seq = _count("the chunk's number", chunk.seq, 10**CLOCK_DIGITS - 1)
    lost = _count("the number of lost chunks", chunk.lost, min(limits.lost, seq))
    try:
        audio = None if chunk.audio is None else check_audio(chunk.audio)
        frames = None if chunk.frames is None else _own_frames(chunk.frames, limits.patches)
        if chunk.text is not None:
            check_text(chunk.text).encode()
    except UnicodeEncodeError as error:
        raise BadChunkError(f"typed words must be text: character {error.start} is half of one.") from error
    except (SessionError, SignalError) as error:
        raise BadChunkError(str(error)) from error
    return replace(chunk, seq=seq, lost=lost, audio=audio, frames=frames)


def _count(what: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise BadChunkError(f"{what} must be a whole number, not {type(value).__name__}.")
    if not 0 <= value <= most:
        raise BadChunkError(f"{what} must lie between 0 and {most}, not be {value}.")
    return int(value)


def _own_frames(frames: np.ndarray, most: int) -> np.ndarray:
    if not isinstance(frames, np.ndarray):
        raise BadChunkError(f"pictures must be a uint8 array [2, H, W, 3], not {type(frames).__name__}.")
    if frames.ndim == 4 and n_patches(*frames.shape[1:3]) > most:
        height, width = frames.shape[1:3]
        raise BadChunkError(f"a picture of {width}x{height} is too large: make it smaller, 160x120 for instance.")
    check_frames(frames)
    return frames.copy()
