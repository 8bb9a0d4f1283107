"""A stand-in for the model in the browser tests of sound and transport: it says back what it hears, and no
more.

What comes back is known to the sample, which no trained model's voice is. The tests of meaning use the real
model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Turn:
    turn: int
    decision: str
    p_speak: float
    text: str
    words: tuple[str, ...]
    audio: np.ndarray
    attention: None = None
    request: str = ""


class EchoSession:
    """Speaks whenever the turn is loud, with the turn itself as its voice."""

    def __init__(self) -> None:
        self.heard: list[np.ndarray] = []
        self.frames: list[np.ndarray | None] = []
        self.typed: list[str | None] = []

    def step(self, audio: Any, frames: np.ndarray | None = None, text: str | None = None) -> Turn:
        turn = len(self.heard)
        if not isinstance(audio, np.ndarray):  # a gap, or a turn that is skipped
            audio = np.zeros(3200, np.float32)
        self.heard.append(audio.copy())
        self.frames.append(frames)
        self.typed.append(text)
        level = float(np.sqrt(np.mean(audio**2)))
        loud = level > 0.01
        words = (f"w{turn}",) if loud else ()
        return Turn(
            turn,
            "<speak>" if loud else "<silent>",
            min(1.0, level * 10),
            " ".join(words),
            words,
            audio * loud,
        )

    def recording(self) -> EchoSession:
        return self
