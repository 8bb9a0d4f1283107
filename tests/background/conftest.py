"""A recording made by hand: what was typed, seen, heard and said is known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.recording import Inputs, Recording


@pytest.fixture
def recording() -> Recording:
    """Ten turns: sound at -20 dBFS in turns 1..3, a camera in 4 and 5, `two plus` typed in 2, and an answer.

    The answer is `four` in turn 6, which sounds through turn 7, and `good` `bye` in turn 9.
    """
    heard, own = np.zeros((10, TURN_SAMPLES), np.float32), np.zeros((10, TURN_SAMPLES), np.float32)
    heard[1:4] = 0.1  # a constant of 0.1 is -20 dBFS
    own[6:8] = own[9] = 0.5
    picture = np.zeros((2, 40, 40, 3), np.uint8)
    decisions = ["<silent>"] * 10
    words: list[tuple[str, ...]] = [()] * 10
    decisions[6] = decisions[7] = decisions[9] = "<speak>"
    words[6], words[9] = ("four",), ("good", "bye")
    return Recording(
        inputs=Inputs(
            heard.ravel(), ((2, "two plus"),), [picture if n in (4, 5) else None for n in range(10)]
        ),
        decisions=tuple(decisions),
        p_speak=np.linspace(0, 1, 10, dtype=np.float32),
        words=tuple(words),
        audio_out=own.ravel(),
        checkpoint={"name": "by hand", "sha256": "0" * 16},
    )
