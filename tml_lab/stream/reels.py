"""Where a session's sound and pictures go: into memory, or turn by turn into files.

A ten-minute recording is 77 MB of sound and up to 345 MB of pictures. Neither reel's memory grows beyond that.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from scipy.io import wavfile

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.stream.columns import Column, Spill
from tml_lab.stream.recording import RecordingError

MOST_PICTURE_BYTES = 64 << 20
DAMAGED_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError,
    SyntaxError, TypeError, KeyError, OverflowError,
)  # fmt: skip
"""What zipfile and numpy meet damaged files with."""
HEARD, OWN, FRAMES = "heard.wav", "own.wav", "frames.npz"
MINUTES = 3_000 * TURN_SAMPLES * 4  # bytes: ten minutes of sound
Contents = tuple[np.ndarray, np.ndarray, "Sequence[np.ndarray | None] | None"]
"""Heard float32 [turns * 3200], own voice float32 [turns * 3200], pictures uint8 [2, H, W, 3] by turn."""


class Reel(Protocol):
    """Where sound and pictures go."""

    def write(self, audio_in: np.ndarray, audio_out: np.ndarray, frames: np.ndarray | None) -> None: ...
    def contents(self) -> Contents: ...
    def close(self) -> None: ...
    def copy(self) -> Reel: ...


class MemoryReel:
    """What a notebook wants: the last minutes in memory, and nothing to choose.

    The rule: about ten minutes of sound (43 MB heard, 43 MB own) and one of pictures (43 MB) stay in memory; what is
    older moves to a temporary folder (`TMPDIR` says where; 1.8 GB for four hours of sound, and 8 GB for a camera of
    160x120), which goes with the session and its recordings.
    """

    def __init__(self) -> None:
        self.spill = Spill()
        self.heard = Column(np.float32, (TURN_SAMPLES,), self.spill, MINUTES)
        self.own = Column(np.float32, (TURN_SAMPLES,), self.spill, MINUTES)
        self.frames = Pictures(self.spill, MINUTES)

    def write(self, audio_in: np.ndarray, audio_out: np.ndarray, frames: np.ndarray | None) -> None:
        self.heard.append(audio_in)  # copies: the caller may reuse its buffer
        self.own.append(audio_out)
        self.frames.append(frames)

    def contents(self) -> Contents:
        frames = self.frames.copy(Spill()) if self.frames.runs else None
        return self.heard.array().reshape(-1), self.own.array().reshape(-1), frames

    def close(self) -> None: ...

    def copy(self) -> MemoryReel:
        """An independent reel with the same content."""
        twin = MemoryReel()
        twin.heard, twin.own = self.heard.copy(twin.spill), self.own.copy(twin.spill)
        twin.frames = self.frames.copy(twin.spill)
        return twin

    def part(self, first: int, end: int) -> Contents:
        """The turns `[first, end)`, copied."""
        seen = [self.frames[turn] for turn in range(first, end)] if self.frames.runs else []
        heard, own = (column.part(first, end).reshape(-1) for column in (self.heard, self.own))
        return heard, own, seen if any(frames is not None for frames in seen) else None


class Pictures(Sequence["np.ndarray | None"]):
    """One turn's pictures after the other, uint8 [2, H, W, 3] or None, on columns: one for each size."""

    def __init__(self, spill: Spill, memory: int) -> None:
        self.spill, self.memory = spill, memory
        self.places = Column([("size", "<i2"), ("row", "<i4")], (), spill)  # -1: no pictures in this turn
        self.runs: dict[tuple[int, ...], Column] = {}

    def append(self, frames: np.ndarray | None) -> None:
        """Add one turn."""
        if frames is None:
            self.places.append((-1, -1))
            return
        if frames.shape not in self.runs:
            self.runs[frames.shape] = Column(np.uint8, frames.shape, self.spill, self.memory)
        run = self.runs[frames.shape]
        self.places.append((list(self.runs).index(frames.shape), len(run)))
        run.append(frames)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return (self[turn] for turn in range(len(self)))

    def __getitem__(self, turn: int) -> np.ndarray | None:  # type: ignore[override]
        if not 0 <= turn < len(self):
            raise IndexError(f"turn {turn} is outside the recording's {len(self)} turns")
        size, row = (int(value) for value in self.places.take(np.array([turn]))[0])
        return None if size < 0 else list(self.runs.values())[size].take(np.array([row]))[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the list of its turns: another process has no part in the temporary folder."""
        return list, (list(self),)

    def copy(self, spill: Spill) -> Pictures:
        """An independent copy, which goes on into `spill`."""
        twin = Pictures(spill, self.memory)
        twin.places = self.places.copy(spill)
        twin.runs = {shape: run.copy(spill) for shape, run in self.runs.items()}
        return twin


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
        frames, read = None, read_sound
        if not self._heard.closed:
            self._heard.flush()
            self._own.flush()
            read = _read_unfinished
        if self._zip is not None and self._zip.fp is None:
            frames = FrameFile(self.folder / FRAMES, self._turns)
        return read(self.folder / HEARD, self._turns), read(self.folder / OWN, self._turns), frames

    def close(self) -> None:
        for file in (self._heard, self._own, self._zip):
            if file is not None:
                file.close()

    def copy(self) -> Reel:
        """Raises RecordingError: two sessions cannot write one file."""
        raise RecordingError("a session that writes its recording to disk cannot be forked; load the recording.")


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


def _read_unfinished(path: Path, turns: int) -> np.ndarray:
    """The same of a file that is still being written: only when it is closed does its header say how long it is."""
    if turns == 0:
        return np.zeros(0, np.float32)
    with path.open("rb") as file:
        begins = file.read(256).index(b"data") + 8  # after the chunk's name and the length that is not known yet
    return np.memmap(path, "<f4", "r", begins, (turns * TURN_SAMPLES,))


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
