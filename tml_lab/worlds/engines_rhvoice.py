"""RHVoice (Debian `rhvoice rhvoice-english`, section contrib): four statistical voices made from real people.

Two further English voices of the package, evgeniy-eng and lyubov, may not be used commercially nor changed
(CC-BY-NC-ND) and are left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from tml_lab.signal.audio import read_audio
from tml_lab.worlds.clips import Audio


class Rhvoice:
    """RHVoice's voices alan (Scottish), bdl, clb and slt (US), through its program; the caller caches what it says."""

    name = "rhvoice"
    how_to_get = "apt install rhvoice rhvoice-english, from Debian's section contrib"
    voices: ClassVar = {"alan": "male", "bdl": "male", "clb": "female", "slt": "female"}

    def __init__(self) -> None:
        """Raises FileNotFoundError where the program is not installed, RuntimeError where it is and does not speak."""
        program = shutil.which("RHVoice-test")
        if program is None:
            raise FileNotFoundError("the program `RHVoice-test` is not on the path")
        self.program = program
        try:  # without its data it fails at the first word only, in the middle of somebody's run
            self.synth("yes", "slt")
        except (subprocess.SubprocessError, OSError) as error:
            raise RuntimeError(f"{program} does not speak: {error}") from error

    def synth(self, text: str, voice: str) -> Audio:
        """Speak English `text` as alan, bdl, clb or slt. Returns f32 [n] at 16 kHz, not trimmed."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "say.wav"
            command = [self.program, "-p", voice, "-o", str(path)]
            subprocess.run(command, input=text.encode(), check=True, capture_output=True, timeout=60)
            return read_audio(path)  # 24 kHz -> 16 kHz
