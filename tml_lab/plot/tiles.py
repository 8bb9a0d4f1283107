"""Levels of detail: what is too long to be drawn sample by sample is cut into tiles, each made when it is asked for.

A level has columns of one length in seconds, four times that of the level below; a tile is a run of columns. An hour of
sound is 58 million samples, and what a screen of it shows is two tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from tml_lab.config import FRAMES_PER_TURN, N_BINS, SAMPLE_RATE, TURN_SAMPLES, TURN_SECONDS
from tml_lab.plot.timeline_data import envelope
from tml_lab.signal.dmel import HOP, WINDOW, frames_to_log_mel, quantize
from tml_lab.stream.recording import Attention

STEP = 4  # from level to level
BASE_BINS = 25  # of a turn, in the envelope that is made once: 128 samples each
FFT, BANDS = 256, 128  # 16 ms: short enough to see syllables begin, long enough to see pitch move
HOP_FINE = 64
QUIETEST = -80.0  # dB below a full-scale sine, drawn as nothing
LOOKS = 4  # spectra that a coarse column is the mean of


class Tiles(Protocol):
    """A lane that is drawn from tiles.

    `form` says what the bytes of a tile are; `columns` how many columns it has; `seconds` how long one is, level by
    level, the finest first; `start` when the first one begins.
    """

    form: str
    columns: int
    seconds: tuple[float, ...]
    start: float

    def count(self, level: int) -> int:
        """How many tiles a level has."""
        ...

    def tile(self, level: int, index: int) -> bytes:
        """One tile. Raises IndexError for one that is not there."""
        ...


class _Levels:
    """What all tiles share: levels up to the one of which a single tile holds everything."""

    def __init__(self, columns: int, finest: float, length: float, start: float = 0.0) -> None:
        self.columns, self.start, self.length = columns, start, length
        seconds = [finest]
        while seconds[-1] * columns < length:
            seconds.append(seconds[-1] * STEP)
        self.seconds = tuple(seconds)

    def count(self, level: int) -> int:
        """How many tiles a level has."""
        return max(1, -int(-self.length // round(self.seconds[level] * self.columns, 9)))

    def check(self, level: int, index: int) -> None:
        """Raises IndexError for a tile that is not there."""
        if not (0 <= level < len(self.seconds) and 0 <= index < self.count(level)):
            raise IndexError(f"there is no tile {index} on level {level}")


class WaveTiles(_Levels):
    """Least and greatest sample of each column: int16 [1024, 2], full scale is 32767; 2 samples a column at finest.

    Args:
        audio: float32 [turns * 3200].
        start: second at which it begins.
    """

    form = "wave"

    def __init__(self, audio: np.ndarray, start: float = 0.0) -> None:
        super().__init__(1024, 2 / SAMPLE_RATE, len(audio) / SAMPLE_RATE, start)
        self.audio = audio

    @cached_property
    def base(self) -> np.ndarray:
        """float32 [turns * 25, 2]."""
        return np.nan_to_num(envelope(self.audio, BASE_BINS))

    @property
    def peak(self) -> float:
        """The greatest size of a sample."""
        return float(np.abs(self.base).max(initial=0.0))

    def tile(self, level: int, index: int) -> bytes:
        self.check(level, index)
        step = 2 * STEP**level  # samples of a column
        inner = TURN_SAMPLES // BASE_BINS
        source, size = (self.base, step // inner) if step >= inner else (self.audio[:, None], step)
        part = np.nan_to_num(np.asarray(source[index * self.columns * size : (index + 1) * self.columns * size]))
        short = -len(part) % size  # the last column may be cut
        part = np.pad(part, ((0, short), (0, 0)), mode="edge") if len(part) else np.zeros((size, 1), np.float32)
        columns = part.reshape(-1, size * part.shape[1])  # [columns, samples or pairs]
        low_high = np.zeros((self.columns, 2))
        low_high[: len(columns), 0], low_high[: len(columns), 1] = columns.min(1), columns.max(1)
        return np.round(low_high * 32767).clip(-32768, 32767).astype("<i2").tobytes()


class _Spectra(_Levels):
    """Images of sound: uint8 [rows, 256]; a column of a coarse level is the mean of a few spectra spread over it."""

    form = "image"

    def __init__(self, audio: np.ndarray, hop: int, start: float) -> None:
        super().__init__(256, hop / SAMPLE_RATE, len(audio) / SAMPLE_RATE, start)
        self.audio, self.hop = audio, hop

    def spectra(self, first: np.ndarray) -> np.ndarray:
        """`[n]` numbers of hops -> `[n, rows]`, 0..255."""
        raise NotImplementedError

    def windows(self, first: np.ndarray, size: int) -> np.ndarray:
        """Pieces of the sound at `first` [n] samples, which may lie outside: float32 [n, size]."""
        at = first[:, None] + np.arange(size)  # [n, size]
        inside = (at >= 0) & (at < len(self.audio))
        if not inside.any():
            return np.zeros(at.shape, np.float32)
        found = np.asarray(self.audio)[at.clip(0, len(self.audio) - 1)]
        return np.where(inside, np.nan_to_num(found), 0.0).astype(np.float32)

    def tile(self, level: int, index: int) -> bytes:
        self.check(level, index)
        step = STEP**level  # hops of a column
        looks = min(step, LOOKS)
        within = ((np.arange(looks) + 0.5) * step / looks).astype(np.int64)  # [looks]
        hops = (index * self.columns + np.arange(self.columns))[:, None] * step + within  # [columns, looks]
        there = hops[:, 0] * self.hop < len(self.audio)
        image = np.zeros((self.columns, self.rows), np.float32)
        found = self.spectra(hops[there].reshape(-1))  # [columns * looks, rows]
        image[there] = found.reshape(-1, looks, self.rows).mean(1)
        return np.round(image.T).clip(0, 255).astype(np.uint8).tobytes()  # [rows, columns]

    rows = 0


class SpectrogramTiles(_Spectra):
    """Loudness by frequency: rows of 62.5 Hz from 0 to 8 kHz, columns of 4 ms at finest; 255 is full scale."""

    rows = BANDS

    def __init__(self, audio: np.ndarray, start: float = 0.0) -> None:
        super().__init__(audio, HOP_FINE, start)

    def spectra(self, first: np.ndarray) -> np.ndarray:
        middle = first * self.hop + self.hop // 2
        window = np.hanning(FFT).astype(np.float32)
        spectrum = np.abs(np.fft.rfft(self.windows(middle - FFT // 2, FFT) * window))[:, :BANDS]  # [n, bands]
        decibels = 20 * np.log10(np.maximum(spectrum / (window.sum() / 2), 1e-9))
        return (decibels - QUIETEST) / -QUIETEST * 255


class DMelTiles(_Spectra):
    """What the model hears, `tml_lab.signal.dmel`: 80 rows, columns of 50 ms at finest, bin 0..15 times 17."""

    rows = 80

    def __init__(self, audio: np.ndarray, start: float = 0.0) -> None:
        super().__init__(audio, HOP, start)
        assert HOP * FRAMES_PER_TURN == TURN_SAMPLES

    def spectra(self, first: np.ndarray) -> np.ndarray:
        frames = self.windows(first * HOP - (WINDOW - HOP), WINDOW)  # [n, 1600]
        bins = quantize(frames_to_log_mel(torch.from_numpy(frames)))  # [n, 80]
        return bins.numpy().astype(np.float32) * (255 // (N_BINS - 1))


class BackTiles:
    """Where a watched head looked from each turn: uint8 [64 turns, streams, lags], the root of the weight over the
    greatest; there is one level."""

    form, columns, start = "back", 64, 0.0
    seconds = (TURN_SECONDS,)

    def __init__(self, watched: Attention) -> None:
        self.lag = watched.lag  # [turns, streams, lags]
        self.most = max(float(np.max(self.lag, initial=0)), 1e-9)

    def count(self, level: int) -> int:
        """How many tiles there are."""
        return max(1, -(-len(self.lag) // self.columns))

    def tile(self, level: int, index: int) -> bytes:
        if level != 0 or not 0 <= index < self.count(0):
            raise IndexError(f"there is no tile {index} on level {level}")
        part = np.asarray(self.lag[index * self.columns : (index + 1) * self.columns], np.float32)
        return np.round(np.sqrt(np.maximum(part, 0) / self.most) * 255).clip(0, 255).astype(np.uint8).tobytes()


class PictureTiles(_Levels):
    """Small pictures of the camera: a byte for each of 8 that says whether it is there, then one JPEG, 8 x 96 by 72.

    Args:
        frames: per turn uint8 [2, H, W, 3] or None.
    """

    form, width, height = "pictures", 96, 72

    def __init__(self, frames: Sequence[np.ndarray | None]) -> None:
        super().__init__(8, TURN_SECONDS, len(frames) * TURN_SECONDS)
        self.frames = frames

    def tile(self, level: int, index: int) -> bytes:
        from tml_lab.plot.pictures import jpeg, small

        self.check(level, index)
        step = STEP**level  # turns of a column
        strip = np.zeros((self.height, self.columns * self.width, 3), np.uint8)
        there = bytearray(self.columns)
        for n in range(self.columns):
            turn = (index * self.columns + n) * step
            pair = next((p for p in (self.frames[t] for t in self._near(turn, step)) if p is not None), None)
            if pair is not None:
                strip[:, n * self.width : (n + 1) * self.width] = small(pair[0], self.width, self.height)
                there[n] = 1
        return bytes(there) + (jpeg(strip) if any(there) else b"")

    def _near(self, turn: int, step: int) -> list[int]:
        """Turns of a column, a few when it has many: the camera may have been off in some."""
        return [t for t in range(turn, turn + step, max(1, step // 4)) if t < len(self.frames)]
