"""How a line is said: rate, pitch, length of the vocal tract.

Drawn at random so that few voices count as many.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio


@dataclass(frozen=True)
class Style:
    """Factors, 1 = as the voice is: rate (2 = twice as fast), pitch, warp (formants, as a shorter throat has
    them), and liveliness (how far espeak's melody moves).

    `tilt` is the tone of a finished clip: y[n] = x[n] + tilt * x[n-1], so above 0 is darker.
    """

    rate: float = 1.0
    pitch: float = 1.0
    warp: float = 1.0
    liveliness: float = 1.0
    tilt: float = 0.0


PLAIN = Style()


def draw_synthetic(rng: np.random.Generator, spread: float = 1.0) -> Style:
    """For a synthetic voice: rate 0.8..1.3, pitch +-25 %, formants +-10 % (VTLP, Jaitly & Hinton 2013); `spread`
    widens all three."""
    rate, pitch, warp, liveliness = rng.uniform(size=4)
    return Style(
        rate=float((0.8 * (1.3 / 0.8) ** rate) ** spread),
        pitch=float(1.25 ** (spread * (2 * pitch - 1))),
        warp=float(1.1 ** (spread * (2 * warp - 1))),
        liveliness=float(0.3 + 1.2 * liveliness),
    )


def draw_human(rng: np.random.Generator, spread: float = 1.0) -> Style:
    """For a person's recording: rate 0.85..1.2, pitch with formants +-8 %, a darker or brighter tone.

    `spread` widens all of it: the few people of the training packages stand for many.
    """
    rate, warp, tilt = rng.uniform(size=3)
    return Style(
        rate=float((0.85 * (1.2 / 0.85) ** rate) ** spread),
        warp=float(1.08 ** (spread * (2 * warp - 1))),
        tilt=float(spread * (0.6 * tilt - 0.3)),
    )


@cache
def _sonic() -> ctypes.CDLL | None:
    """libsonic (Apache-2.0), which espeak-ng's library carries; None where it is not exported."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        library.sonicChangeFloatSpeed.restype = ctypes.c_int
        return library
    except (ImportError, OSError, AttributeError):
        return None


def restyle(audio: Audio, style: Style) -> Audio:
    """Change a finished clip's rate, its pitch and formants together (by `warp`), and its tone.

    f32 [n] -> f32 [m]. libsonic takes about a millisecond; without it only warp and tone change.
    """
    if style.tilt:
        audio = audio.copy()
        audio[1:] += np.float32(style.tilt) * audio[:-1].copy()
    if len(audio) == 0 or (abs(style.rate - 1) < 1e-3 and abs(style.warp - 1) < 1e-3):
        return audio
    sonic = _sonic()
    if sonic is None:
        import soxr

        return soxr.resample(audio, SAMPLE_RATE * style.warp, SAMPLE_RATE, "MQ")
    room = int(len(audio) / min(style.rate, 1.0) * 1.2) + 4096
    buffer = np.zeros(room, np.float32)
    buffer[: len(audio)] = audio
    count = sonic.sonicChangeFloatSpeed(
        buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
        ctypes.c_int(len(audio)),
        ctypes.c_float(style.rate),
        ctypes.c_float(style.warp),
        ctypes.c_float(1.0),
        ctypes.c_float(1.0),
        ctypes.c_int(0),
        ctypes.c_int(SAMPLE_RATE),
        ctypes.c_int(1),
    )
    return buffer[: max(0, min(count, room))].copy()
