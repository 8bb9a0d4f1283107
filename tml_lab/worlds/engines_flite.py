"""flite through its program (Debian `flite`, BSD-like): three statistical voices made from real people."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import soundfile
import soxr

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio


class Flite:
    """`flite -voice slt -t text -o file`; the caller caches what it says."""

    name = "flite"
    how_to_get = "apt install flite (or your system's package of CMU Flite)"
    voices = {"awb": "male", "rms": "male", "slt": "female"}

    def __init__(self) -> None:
        """Raises FileNotFoundError where the program is not installed."""
        program = shutil.which("flite")
        if program is None:
            raise FileNotFoundError("the program `flite` is not on the path")
        self.program = program

    def synth(self, text: str, voice: str) -> Audio:
        """Speak English `text` as awb, rms or slt. Returns f32 [n] at 16 kHz, not trimmed."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "say.wav"
            command = [self.program, "-voice", voice, "-t", text, "-o", str(path)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            audio, rate = soundfile.read(path, dtype="float32")
        return audio if rate == SAMPLE_RATE else soxr.resample(audio, rate, SAMPLE_RATE)
