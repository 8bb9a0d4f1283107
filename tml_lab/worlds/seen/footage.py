"""Real clips that stand behind a scene: people at a desk, a tree, a street; each in one split only.

`python -m tml_lab.worlds.build_footage FOLDER` makes them and their index, `data/recordings/footage`; authors and
licences are in `data/SOURCES.md`. They are read with PyAV; without it training goes on before drawn backdrops alone.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import VIDEO_SIZE
from tml_lab.stream.sources import VideoFile

FOLDER = Path(__file__).resolve().parents[3] / "data" / "recordings" / "footage"
INDEX = "footage.json"
SPLITS = ("train", "test")
SHARE = 0.35  # of training's films that stand before a real clip
CLOSEST = 0.6  # the smallest part of a clip's picture that is shown, of its width


@dataclass(frozen=True)
class Clip:
    """A clip of the index: `frames` at 10 a second."""

    name: str
    split: str
    package: str
    author: str
    licence: str
    shows: str
    frames: int


@cache
def clips(split: str) -> tuple[Clip, ...]:
    """The clips of a split. Raises ValueError for another name of a split."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of footage; use one of {', '.join(SPLITS)}")
    rows = json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))["clips"]
    fields = Clip.__dataclass_fields__
    found = [Clip(**{name: row[name] for name in fields}) for row in rows]
    return tuple(clip for clip in found if clip.split == split)


@cache
def reel(split: str, device: torch.device) -> Tensor:
    """All frames of a split's clips end to end: uint8 `[frames, 120, 160, 3]`.

    Raises SignalError without PyAV, or for a clip whose file is not the one of the index.
    """
    return torch.from_numpy(np.concatenate([_read(clip) for clip in clips(split)])).to(device)


def _read(clip: Clip) -> np.ndarray:
    path = FOLDER / f"{clip.name}.webm"
    file, pairs = VideoFile(path), []
    while (pair := file.next_turn()) is not None:
        pairs.append(pair)
    frames = np.concatenate(pairs)[: clip.frames]  # [frames, 120, 160, 3]
    if len(frames) < clip.frames:
        raise ValueError(f"{path} has {len(frames)} frames and {INDEX} says {clip.frames}: restore it from git")
    return frames


@dataclass(frozen=True)
class Showing:
    """How a film shows a clip: frames `[start, start + length)` of the reel from `first` on, there and back; a window
    `zoom` of its picture, `across` and `down` from 0 to 1 where it lies; perhaps mirrored."""

    start: int
    length: int
    first: int
    zoom: float
    across: float
    down: float
    mirrored: bool

    def frame(self, number: Sequence[int] | np.ndarray) -> np.ndarray:
        """Places on the reel of a film's frames: int64 `[n]`. Back from its end, since a jump would be an event."""
        there_and_back = max(1, 2 * (self.length - 1))
        place = (self.first + np.asarray(number)) % there_and_back
        return self.start + np.minimum(place, there_and_back - place)

    def pixels(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Which rows `[height]` and columns `[width]` of the clip a picture of `size` shows: int64."""
        fits = self.zoom * min(VIDEO_SIZE[0] / size[0], VIDEO_SIZE[1] / size[1])  # clip's pixels per picture's
        left, top = self.across * (VIDEO_SIZE[0] - fits * size[0]), self.down * (VIDEO_SIZE[1] - fits * size[1])
        columns = (left + fits * (np.arange(size[0]) + 0.5)).astype(np.int64)
        rows = (top + fits * (np.arange(size[1]) + 0.5)).astype(np.int64)
        return rows, columns[::-1].copy() if self.mirrored else columns


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(b"footage"), seed])


def draw_showing(seed: int, split: str) -> Showing:
    """A clip of the split and how it is shown, the same for the same seed."""
    rng, found = _generator(seed), clips(split)
    rng.uniform()  # what `is_drawn` looks at
    which = int(rng.integers(len(found)))
    start = sum(clip.frames for clip in found[:which])
    length = found[which].frames
    zoom, across, down = rng.uniform(CLOSEST, 1.0), rng.uniform(), rng.uniform()
    return Showing(start, length, int(rng.integers(2 * length)), zoom, across, down, bool(rng.uniform() < 0.5))


def is_drawn(seed: int) -> bool:
    """Whether a film of training with this seed stands before a real clip; never without PyAV."""
    return readable() and bool(_generator(seed).uniform() < SHARE)


@cache
def readable() -> bool:
    """Whether clips can be read; says once that they cannot."""
    if importlib.util.find_spec("av") is not None:
        return True
    warnings.warn("the package av is missing (pip install av): no film stands before a real clip", stacklevel=2)
    return False


def footage_behind(showings: Sequence[Showing], film: np.ndarray, number: np.ndarray, size: tuple[int, int],
                   split: str, device: torch.device) -> Tensor:  # fmt: skip
    """What stands behind each of `n` frames: uint8 `[n, height, width, 3]`.

    `film [n]`: whose showing it is; `number [n]`: of the frame in its film. Indices alone are computed, on the host:
    the pixels are the same on every device.
    """
    place = np.zeros(len(film), np.int64)
    for i in np.unique(film):
        place[film == i] = showings[i].frame(number[film == i])
    rows, columns = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*(s.pixels(size) for s in showings),
                                                                                 strict=True))  # fmt: skip
    whose = torch.from_numpy(film).to(device)
    at = torch.from_numpy(place).to(device)
    return reel(split, device)[at[:, None, None], rows[whose][:, :, None], columns[whose][:, None]]
