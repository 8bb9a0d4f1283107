"""`VoiceReader`: words on the screen, one after the other, read into the microphone; what comes out is a voice.

    reader = VoiceReader("voices/me")     # about four minutes; a pause keeps what has been read
    reader
    adapt(reader.folder, "runs/me")

Each text has a time of its own, so nothing has to be pressed and nothing guesses where a word begins: what is heard
while a text stands there is the recording of it. What was too quiet or was cut off is asked for again at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from tml_lab.plot.esm import link
from tml_lab.worlds.reading import READING, ReadingError, open_takes, usable, write_voice
from tml_widgets import subshells

STATIC = Path(__file__).parent / "static"
FIRST, EACH = 1.4, 0.4  # seconds for a text: to see it, and for each of its words


class VoiceReader(anywidget.AnyWidget):
    """Reads one person in.

    Args:
        folder: where the voice is kept; what is there already is not asked for again.
        texts: what is to be read; a text that stands there twice is read twice.
    """

    _esm = link(STATIC / "voice_reader.js")
    _css = (STATIC / "voice_reader.css").read_text(encoding="utf-8")

    texts = traitlets.List(traitlets.Unicode(), help="what is read").tag(sync=True)
    seconds = traitlets.List(traitlets.Float(), help="how long each stands there").tag(sync=True)
    taken = traitlets.List(traitlets.Bool(), help="which have been read").tag(sync=True)
    note = traitlets.Unicode(help="what was wrong with the last one").tag(sync=True)
    pace = traitlets.Float(1.0, min=0.5, max=2.0, help="above 1, texts stand there longer").tag(sync=True)

    def __init__(self, folder: str | Path = "voices/me", texts: Sequence[str] = READING, **traits: Any) -> None:
        self.folder = Path(folder)
        self._clips: dict[int, np.ndarray] = {}
        found = open_takes(self.folder)
        for n, text in enumerate(texts):
            if found.get(text):
                self._clips[n] = found[text].pop(0)
        seconds = [FIRST + EACH * len(text.split()) for text in texts]
        super().__init__(texts=list(texts), seconds=seconds, taken=self._marks(len(texts)), **traits)
        self.needed_subshell_fix = subshells.handle_on_subshell(self.comm)
        self.on_msg(self._on_message)

    def __repr__(self) -> str:
        return f"VoiceReader({len(self._clips)} of {len(self.texts)} read, {self.folder})"

    def _marks(self, n: int) -> list[bool]:
        return [i in self._clips for i in range(n)]

    def _on_message(self, _: Any, content: Any, buffers: list[Any]) -> None:
        """A clip that the page has heard, int16 at 16 kHz; or that one is to be read again."""
        n = content.get("n") if isinstance(content, dict) else None
        if not isinstance(n, int) or not 0 <= n < len(self.texts):
            return
        if content.get("kind") == "again":
            self._clips.pop(n, None)
            self.taken = self._marks(len(self.texts))
        elif content.get("kind") == "clip" and buffers:
            self._take(n, np.frombuffer(bytes(buffers[0]), "<i2").astype(np.float32) / 32768)

    def _take(self, n: int, audio: np.ndarray) -> None:
        """Keep a clip, on the disk too, or say why not."""
        try:
            clips = self._clips | {n: usable(self.texts[n], audio)}
            write_voice(self.folder, [(self.texts[i], clips[i]) for i in sorted(clips)])
        except (ReadingError, OSError) as error:
            self.note = str(error)
        else:
            self._clips, self.note = clips, ""
        self.taken = self._marks(len(self.texts))
