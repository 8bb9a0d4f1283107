"""SVOX Pico in this process (PyPI `ttspico`, Apache-2.0; pip compiles it, so a C compiler is needed).

Held out of training: only the "test" split speaks with it. An engine's second phrase depends on its first, so each
phrase has an engine of its own: the bank promises the same audio for the same request.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np

from tml_lab.worlds.clips import Audio

_MARKUP = str.maketrans({"<": " ", ">": " ", "&": " and "})


class Pico:
    """SVOX Pico's voices; English in two accents, and one voice each for four other languages."""

    name = "pico"
    clips = "2"  # in the cache: earlier clips were made by one engine, one after the other
    how_to_get = "pip install ttspico, with a C compiler at hand"
    voices: ClassVar = {"en-US": "female", "en-GB": "female"}
    languages = ("en", "es", "fr", "de", "it")
    _other: ClassVar = {"es": "es-ES", "fr": "fr-FR", "de": "de-DE", "it": "it-IT"}

    def __init__(self) -> None:
        """Raises ImportError where ttspico is not installed."""
        import ttspico

        self._make: Any = ttspico.TtsEngine
        self._lock = threading.Lock()

    def synth(self, text: str, voice: str, language: str = "en") -> Audio:
        """Speak `text` as en-US or en-GB (or, in another language, as its one voice).

        Returns f32 [n] at 16 kHz.
        """
        name = self._other.get(language, voice)
        with self._lock:
            pcm = np.frombuffer(self._make(name).speak(text.translate(_MARKUP)), np.int16)
        return pcm.astype(np.float32) / np.float32(32768)
