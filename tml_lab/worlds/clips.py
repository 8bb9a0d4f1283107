"""Clips of speech: trimming, levelling, and a cache on disk for engines that run as a program.

A clip is always mono float32 at 16 kHz in [-1, 1].
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tml_lab.config import SAMPLE_RATE

Audio = NDArray[np.float32]

SPEECH_DBFS = -23.0  # RMS of the parts that are speech, as broadcasters level it (EBU R 128)
_FRAME = SAMPLE_RATE // 200  # 5 ms
_MARGIN = SAMPLE_RATE // 100  # 10 ms kept on either side of a trimmed clip


def cache_dir() -> Path:
    """Folder of clips that are slow to make: `voices` in `$TML_LAB_CACHE`, else in `data/cache`."""
    root = os.environ.get("TML_LAB_CACHE")
    base = Path(root) if root else Path(__file__).resolve().parents[2] / "data" / "cache"
    folder = base / "voices"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _frame_rms(audio: Audio) -> NDArray[np.float32]:
    frames = audio[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)  # [n] -> [n//80, 80]
    return np.sqrt(np.einsum("ij,ij->i", frames, frames) / _FRAME)  # [n//80, 80] -> [n//80]


def trim(audio: Audio, floor_db: float = -45.0) -> Audio:
    """Cut silence from both ends, leaving 10 ms; silence is `floor_db` below the loudest 5 ms.

    Args: audio f32 [n]. Returns: f32 [m], m <= n; an all-silent clip comes back empty.
    """
    if len(audio) < _FRAME:
        return audio
    rms = _frame_rms(audio)
    loudest = float(rms.max())
    if loudest <= 1e-5:
        return audio[:0]
    heard = np.flatnonzero(rms > loudest * 10 ** (floor_db / 20))
    start = max(0, int(heard[0]) * _FRAME - _MARGIN)
    end = min(len(audio), (int(heard[-1]) + 1) * _FRAME + _MARGIN)
    return audio[start:end]


def speech_dbfs(audio: Audio) -> float:
    """RMS level in dBFS of the frames that carry speech (within 30 dB of the loudest); -inf for silence."""
    if len(audio) < _FRAME:
        return float("-inf")
    power = _frame_rms(audio) ** 2
    active = power[power > power.max() * 1e-3]
    return 10 * float(np.log10(active.mean())) if len(active) else float("-inf")


def level(audio: Audio, dbfs: float = SPEECH_DBFS) -> Audio:
    """Scale f32 [n] so that its speech is at `dbfs` RMS, peaks held below full scale. Returns f32 [n]."""
    now = speech_dbfs(audio)
    if not np.isfinite(now):
        return audio.astype(np.float32)
    gain = 10 ** ((dbfs - now) / 20)
    return (audio * min(gain, 0.99 / max(float(np.abs(audio).max()), 1e-9))).astype(np.float32)


class ClipCache:
    """Clips kept in one SQLite file (any number of processes may share it) and, the latest, in memory.

    A clip is stored as int16, so what is made now and what is read later are the same numbers.
    """

    def __init__(self, path: Path, memory_bytes: int = 200_000_000, disk_bytes: int = 2_000_000_000) -> None:
        self.path = path
        self.disk_bytes = disk_bytes  # a full cache is still read, and no longer written
        self.memory_bytes = memory_bytes
        self._recent: OrderedDict[str, NDArray[np.int16]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._pid = -1

    def _connection(self) -> sqlite3.Connection:
        if self._db is None or self._pid != os.getpid():  # a connection must not cross a fork
            self._db = sqlite3.connect(self.path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")  # a cache may be lost: it is made again
            self._db.execute("CREATE TABLE IF NOT EXISTS clips (name TEXT PRIMARY KEY, pcm BLOB)")
            self._pid = os.getpid()
        return self._db

    def get(self, name: str, make: Callable[[], Audio]) -> Audio:
        """The clip called `name`, made by `make()` when it is not known yet. Returns f32 [n]."""
        with self._lock:
            pcm = self._recent.get(name)
            if pcm is not None:
                self._recent.move_to_end(name)
                return pcm.astype(np.float32) / np.float32(32768)
            row = self._connection().execute("SELECT pcm FROM clips WHERE name=?", (name,)).fetchone()
            if row is not None:
                pcm = np.frombuffer(row[0], np.int16)
            else:
                pcm = np.clip(np.rint(make() * 32768), -32768, 32767).astype(np.int16)
                if self.path.stat().st_size < self.disk_bytes:
                    insert = "INSERT OR IGNORE INTO clips VALUES (?, ?)"
                    self._connection().execute(insert, (name, pcm.tobytes()))
            self._keep(name, pcm)
            return pcm.astype(np.float32) / np.float32(32768)

    def _keep(self, name: str, pcm: NDArray[np.int16]) -> None:
        self._recent[name] = pcm
        self._held += pcm.nbytes
        while self._held > self.memory_bytes:
            _, old = self._recent.popitem(last=False)
            self._held -= old.nbytes
