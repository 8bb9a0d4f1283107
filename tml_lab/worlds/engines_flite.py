"""flite (Debian `flite`, BSD-like): three statistical voices made from real people.

Where its shared libraries load (Linux), it speaks in this process, five times faster than its program. The
two give the same samples: C's random generator, which its excitation draws from, is started afresh each time.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tml_lab.config import SAMPLE_RATE
from tml_lab.signal.audio import as_mono_16k, read_audio
from tml_lab.worlds.clips import Audio


class _Wave(ctypes.Structure):
    """`cst_wave` of flite's cst_wave.h."""

    _fields_: ClassVar = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


class Flite:
    """CMU Flite with the voices awb (Scottish), rms and slt (US); the caller caches what it says."""

    name = "flite"
    how_to_get = "apt install flite, or your system's package of CMU Flite"
    voices: ClassVar = {"awb": "male", "rms": "male", "slt": "female"}

    def __init__(self) -> None:
        """Raises FileNotFoundError where the program is not installed."""
        program = shutil.which("flite")
        if program is None:
            raise FileNotFoundError("the program `flite` is not on the path")
        self.program = program
        self._lock = threading.Lock()
        self._handles: dict[str, Any] = {}
        self._library = self._load()

    def _load(self) -> ctypes.CDLL | None:
        try:
            library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
            for name in ("usenglish", "cmulex"):
                ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
            library.flite_init()
            library.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
            library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
            library.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
            for name in self.voices:
                register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
                register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
                self._handles[name] = register(None)
            self._libc = ctypes.CDLL(None)
            return library
        except (OSError, AttributeError, TypeError):
            return None

    def synth(self, text: str, voice: str) -> Audio:
        """Speak English `text` as awb, rms or slt. Returns f32 [n] at 16 kHz, not trimmed."""
        return self._by_program(text, voice) if self._library is None else self._in_process(text, voice)

    def _in_process(self, text: str, voice: str) -> Audio:
        assert self._library is not None
        with self._lock:
            self._libc.srand(1)
            wave = self._library.flite_text_to_wave(text.encode(), self._handles[voice])
            count, rate = wave.contents.num_samples, wave.contents.sample_rate
            pcm = np.ctypeslib.as_array(wave.contents.samples, (count,)).copy()  # [n]
            self._library.delete_wave(wave)
        audio = pcm.astype(np.float32) / np.float32(32768)
        return audio if rate == SAMPLE_RATE else as_mono_16k(audio, rate)

    def _by_program(self, text: str, voice: str) -> Audio:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "say.wav"
            command = [self.program, "-voice", voice, "-t", text, "-o", str(path)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            return read_audio(path)
