"""What of an item is heard and seen on a report's page: a stereo sound file, and a strip of pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.own_voice import voice_of
from tml_lab.config import SAMPLE_RATE, TURN_SECONDS
from tml_lab.worlds.stage import Episode

if TYPE_CHECKING:
    from tml_lab.model.vocoder import Vocoder

SECONDS_BETWEEN_PICTURES = 2.0


def write_sound(path: Path, item: Episode, log: Emissions, vocoder: Vocoder | None) -> None:
    """What was heard on the left, the own voice on the right, as Ogg Vorbis."""
    both = np.stack([item.audio, voice_of(log, vocoder)[: len(item.audio)]], 1)  # [samples, 2]
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, format="OGG", subtype="VORBIS") as file:
        for start in range(0, len(both), SAMPLE_RATE):  # blocks: libsndfile's encoder wants no minutes at once
            file.write(both[start : start + SAMPLE_RATE])


def png(pixels: np.ndarray) -> bytes:
    """uint8 `[height, width, 3]` as a PNG file."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)  # filter 0 before each row

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def strip(item: Episode) -> np.ndarray | None:
    """A picture every two seconds, side by side: uint8 `[120, 160 * n, 3]`; None without a camera."""
    film = item.pictures()
    if film is None:
        return None
    step = round(SECONDS_BETWEEN_PICTURES / TURN_SECONDS)
    return np.concatenate(list(film[::step, 0]), axis=1)
