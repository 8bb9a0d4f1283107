"""flite through its program (Debian `flite`, BSD-like): three statistical voices made from real people."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from tml_lab.signal.audio import read_audio
from tml_lab.worlds.clips import Audio


class Flite:
    """`flite -voice slt -t text -o file`; the caller caches what it says."""

    name = "flite"
    how_to_get = "apt install flite (or your system's package of CMU Flite)"
    voices: ClassVar = {"awb": "male", "rms": "male", "slt": "female"}

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
            return read_audio(path)
