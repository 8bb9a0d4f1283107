"""Where a session's sound and pictures go: into memory, or turn by turn into files.

A ten-minute recording is 77 MB of sound and up to 345 MB of pictures. On a `FolderReel` the session's memory
does not grow with them; what grows is the tape's few hundred bytes a turn.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from scipy.io import wavfile

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.stream.recording import RecordingError

MOST_PICTURE_BYTES = 64 << 20
DAMAGED_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError,
    SyntaxError, TypeError, KeyError, OverflowError,
)  # fmt: skip
"""What zipfile and numpy meet damaged files with."""
HEARD, OWN, FRAMES = "heard.wav", "own.wav", "frames.npz"
Contents = tuple[np.ndarray, np.ndarray, "Sequence[np.ndarray | None] | None"]
"""Heard float32 [turns * 3200], own voice float32 [turns * 3200], pictures uint8 [2, H, W, 3] by turn."""


class Reel(Protocol):
    """Where sound and pictures go."""

    def write(self, audio_in: np.ndarray, audio_out: np.ndarray, frames: np.ndarray | None) -> None: ...
    def contents(self) -> Contents: ...
    def close(self) -> None: ...


@dataclass
class MemoryReel:
    """Keeps all in memory: what a notebook wants."""

    heard: list[np.ndarray] = field(default_factory=list)
    own: list[np.ndarray] = field(default_factory=list)
    frames: list[np.ndarray | None] = field(default_factory=list)

    def write(self, audio_in: np.ndarray, audio_out: np.ndarray, frames: np.ndarray | None) -> None:
        self.heard.append(np.array(audio_in, np.float32))  # copies: the caller may reuse its buffer
        self.own.append(np.array(audio_out, np.float32))
        self.frames.append(None if frames is None else np.array(frames, np.uint8))

    def contents(self) -> Contents:
        none = np.zeros(0, np.float32)
        frames = list(self.frames) if any(f is not None for f in self.frames) else None
        return np.concatenate([none, *self.heard]), np.concatenate([none, *self.own]), frames

    def close(self) -> None: ...

    def copy(self) -> MemoryReel:
        """An independent reel with the same content (the arrays themselves are never written to)."""
        return MemoryReel(list(self.heard), list(self.own), list(self.frames))


class FolderReel:
    """Writes through to `heard.wav`, `own.wav` (float32) and, with a camera, `frames.npz`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FRAMES).unlink(missing_ok=True)
            how = {"samplerate": SAMPLE_RATE, "channels": 1, "subtype": "FLOAT", "format": "WAV"}
            self._heard = soundfile.SoundFile(folder / HEARD, "w", **how)
            self._own = soundfile.SoundFile(folder / OWN, "w", **how)
        except (OSError, soundfile.SoundFileError) as error:
            raise RecordingError(f"cannot write the recording to {folder}: {_reason(error)}") from error
        self._zip: zipfile.ZipFile | None = None
        self._turns = 0

    def write(self, audio_in: np.ndarray, audio_out: np.ndarray, frames: np.ndarray | None) -> None:
        try:
            self._heard.write(audio_in)
            self._own.write(audio_out)
            if frames is not None:
                if self._zip is None:
                    self._zip = zipfile.ZipFile(
                        self.folder / FRAMES, "w", zipfile.ZIP_DEFLATED, compresslevel=1
                    )
                with self._zip.open(f"{self._turns}.npy", "w") as entry:
                    np.lib.format.write_array(
                        entry, np.ascontiguousarray(frames, np.uint8), allow_pickle=False
                    )
        except (OSError, RuntimeError) as error:
            raise RecordingError(f"writing to {self.folder} failed: {_reason(error)}") from error
        self._turns += 1

    def contents(self) -> Contents:
        """What is on disk so far, mapped and not copied; pictures only once the reel is closed."""
        if not self._heard.closed:
            self._heard.flush()
            self._own.flush()
        frames = None
        if self._zip is not None and self._zip.fp is None:
            frames = FrameFile(self.folder / FRAMES, self._turns)
        return (
            read_sound(self.folder / HEARD, self._turns),
            read_sound(self.folder / OWN, self._turns),
            frames,
        )

    def close(self) -> None:
        for file in (self._heard, self._own, self._zip):
            if file is not None:
                file.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def read_sound(path: Path, turns: int) -> np.ndarray:
    """float32 [turns * 3200], mapped from disk."""
    if turns == 0:  # an empty file cannot be mapped
        return np.zeros(0, np.float32)
    try:
        with warnings.catch_warnings():
            # libsndfile's PEAK chunk is unknown to scipy; a short data chunk is reported below, in our words.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path, mmap=True)
    except Exception as error:  # scipy meets damaged headers with errors of many kinds
        raise RecordingError(
            f"{path} cannot be read ({error}): the file is missing, truncated or damaged."
        ) from error
    whole = samples.ndim == 1 and len(samples) >= turns * TURN_SAMPLES
    if rate != SAMPLE_RATE or samples.dtype != np.float32 or not whole:
        raise RecordingError(
            f"{path} should hold {turns} turns of float32 mono sound at {SAMPLE_RATE} Hz, "
            f"but holds {samples.dtype} {list(samples.shape)} at {rate} Hz: it is truncated or was replaced."
        )
    # A stream that was stopped between sound and header may hold a little more sound than turns.
    return samples[: turns * TURN_SAMPLES]


class FrameFile(Sequence["np.ndarray | None"]):
    """Pictures of a saved recording, read one turn at a time: uint8 [2, H, W, 3] or None.

    Args:
        path: the file.
        turns: of the recording.
        keeps: something that must live as long as this.
    """

    def __init__(self, path: Path, turns: int, keeps: object = None) -> None:
        self.path, self.turns, self.keeps = path, turns, keeps
        try:
            with zipfile.ZipFile(path) as archive:
                self._there = {member.filename: member.file_size for member in archive.infolist()}
        except DAMAGED_ZIP as error:
            raise RecordingError(
                f"{path} cannot be read ({error}): the file is truncated or damaged."
            ) from error

    def __len__(self) -> int:
        return self.turns

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return (self[turn] for turn in range(self.turns))

    def __getitem__(self, turn: int) -> np.ndarray | None:  # type: ignore[override]
        if not 0 <= turn < self.turns:
            raise IndexError(f"turn {turn} is outside the recording's {self.turns} turns")
        name = f"{turn}.npy"
        if name not in self._there:
            return None
        try:
            if self._there[name] > MOST_PICTURE_BYTES:
                raise ValueError(f"they unpack to {self._there[name]} bytes")
            with zipfile.ZipFile(self.path) as archive:
                return _picture_pair(archive.read(name))
        except DAMAGED_ZIP as error:
            raise RecordingError(
                f"{self.path}: the pictures of turn {turn} cannot be read ({error})."
            ) from error


def _picture_pair(npy: bytes) -> np.ndarray:
    """uint8 [2, H, W, 3] from the bytes of an .npy file. Raises ValueError for anything else.

    The header is looked at before anything of the size that it promises is made.
    """
    file = io.BytesIO(npy)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not an .npy file of version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    data = npy[file.tell() :]
    if dtype != np.uint8 or fortran or len(shape) != 4 or (shape[0], shape[3]) != (2, 3) or min(shape) < 1:
        raise ValueError(f"they should be uint8 [2, H, W, 3], not {dtype} {list(shape)}")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()
