"""festival through its program (Debian `festival festvox-kallpc16k festvox-kdlpc16k`, BSD-like).

Held out of training: only the "test" split speaks with its diphone voices. One festival is kept waiting at
the other end of a pipe, because starting it takes ten times as long as a phrase.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from tml_lab.signal.audio import read_audio
from tml_lab.worlds.clips import Audio

_FOLDERS = ("/usr/share/festival/voices", "/usr/local/share/festival/voices")
_DONE = "said-it"


class Festival:
    """festival's diphone voices, as many of kal and ked as are installed."""

    name = "festival"
    how_to_get = "apt install festival festvox-kallpc16k festvox-kdlpc16k"

    def __init__(self) -> None:
        """Raises FileNotFoundError where the program or both voices are missing."""
        program = shutil.which("festival")
        if program is None:
            raise FileNotFoundError("the program `festival` is not on the path")
        self.program = program
        installed = {path.name for root in _FOLDERS for path in Path(root).glob("*/*")}
        self.voices = {name: "male" for name in ("kal", "ked") if f"{name}_diphone" in installed}
        if not self.voices:
            raise FileNotFoundError("festival has neither kal_diphone nor ked_diphone")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._pid = -1

    def _ask(self, command: str) -> None:
        """Send one line of Scheme, wait until it is done. Raises RuntimeError when festival ends instead."""
        if self._process is None or self._pid != os.getpid() or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [self.program, "--pipe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
            )
            self._pid = os.getpid()
            atexit.register(self._process.kill)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f'{command} (format t "{_DONE}\\n") (fflush nil)\n')
        self._process.stdin.flush()
        for line in self._process.stdout:
            if _DONE in line:
                return
        raise RuntimeError(
            f"festival ended without answering {command!r}; run that line in `festival` by hand."
        )

    def synth(self, text: str, voice: str) -> Audio:
        """Speak English `text` as kal or ked. Returns f32 [n] at 16 kHz, not trimmed."""
        plain = text.replace("\\", " ").replace('"', " ").replace("\n", " ")
        with self._lock, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "say.wav"
            self._ask(f"(voice_{voice}_diphone)")
            self._ask(f'(utt.save.wave (utt.synth (Utterance Text "{plain}")) "{path}" \'riff)')
            return read_audio(path)
