"""festival through its program `text2wave` (Debian `festival festvox-kallpc16k festvox-kdlpc16k`, BSD-like).

Held out of training: only the "test" split speaks with its diphone voices.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tml_lab.signal.audio import read_audio
from tml_lab.worlds.clips import Audio

_SYMBOLS = {"kal": "voice_kal_diphone", "ked": "voice_ked_diphone"}
_FOLDERS = ("/usr/share/festival/voices", "/usr/local/share/festival/voices")


class Festival:
    """festival's diphone voices, as many of kal and ked as are installed."""

    name = "festival"
    how_to_get = "apt install festival festvox-kallpc16k festvox-kdlpc16k"

    def __init__(self) -> None:
        """Raises FileNotFoundError where the program or both voices are missing."""
        program = shutil.which("text2wave")
        if program is None:
            raise FileNotFoundError("the program `text2wave` is not on the path")
        self.program = program
        installed = {path.name for root in _FOLDERS for path in Path(root).glob("*/*")}
        self.voices = {name: "male" for name in _SYMBOLS if f"{name}_diphone" in installed}
        if not self.voices:
            raise FileNotFoundError("festival has neither kal_diphone nor ked_diphone")

    def synth(self, text: str, voice: str) -> Audio:
        """Speak English `text` as kal or ked. Returns f32 [n] at 16 kHz, not trimmed."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "say.wav"
            command = [self.program, "-eval", f"({_SYMBOLS[voice]})", "-o", str(path)]
            subprocess.run(command, input=text.encode(), check=True, capture_output=True, timeout=60)
            return read_audio(path)
