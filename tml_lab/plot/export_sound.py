"""Both voices of a recording as a sound, where a listener meets them: left what was heard, right the own voice."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tml_lab.config import SAMPLE_RATE
from tml_lab.stream.clock import played_start
from tml_lab.stream.recording import Recording

PIECE = 10 * SAMPLE_RATE  # samples that are in memory at once


def pieces(recording: Recording, start: float, end: float) -> Iterator[np.ndarray]:
    """What was heard and the own voice, in the seconds where a listener meets them: float32 [2, n], pieces of 10 s at
    most; silence outside of the recording."""
    late = round(played_start(0) * SAMPLE_RATE)
    tracks = ((recording.inputs.audio, 0), (recording.audio_out, late))
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    for at in range(first, last, PIECE):
        until = min(at + PIECE, last)
        out = np.zeros((2, until - at), np.float32)
        for row, (audio, offset) in zip(out, tracks, strict=True):
            low, high = max(at, offset), min(until, offset + len(audio))
            if high > low:
                row[low - at : high - at] = audio[low - offset : high - offset]
        yield out


def write_wav(recording: Recording, path: Path, start: float, end: float) -> None:
    """16 bit, stereo, 16 kHz. The standard library's writer: it does not hide a full disk, as libsndfile does."""
    with path.open("wb") as file, wave.open(file, "wb") as writer:
        writer.setparams((2, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
        for piece in pieces(recording, start, end):
            writer.writeframesraw(to_int16(piece).T.tobytes())  # [2, n] -> [n, 2]


def to_int16(sound: np.ndarray) -> np.ndarray:
    """float32 -1..1 to int16, what is louder cut off."""
    return np.round(np.nan_to_num(sound) * 32767).clip(-32768, 32767).astype("<i2")
