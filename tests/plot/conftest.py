"""A recording whose every value is known, without a model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.layout import STREAM_NAMES
from tml_lab.stream.recording import Attention, Inputs, Recording
from tml_lab.stream.tokens import TokenTable

sys.path.insert(0, str(Path(__file__).parent))  # plot_inside.py is imported by the tests

TYPED = ((2, 'say <b>"five"</b> </script>'),)


VOCABULARY = ("<silent>", "<speak>", "five", "two", "three")


def _token(speaks: dict, turn: int, stream: int, slot: int) -> int:
    """A position's entry in the vocabulary, -1 for sounds and pictures."""
    if stream != 3:
        return -1
    word = slot - (16 if 3 <= turn < 9 else 4) - 1  # -1: the decision
    return VOCABULARY.index(speaks[turn][word]) if word >= 0 else int(turn in speaks)


def _recording(turns: int = 20) -> Recording:
    rng = np.random.default_rng(0)
    speaks = {n: words for n, words in {6: ("five",), 7: (), 12: ("two", "three")}.items() if n < turns}
    rows = [
        (n, s)
        for n in range(turns)
        for s in ([1] * 12 if 3 <= n < 9 else []) + [2] * 4 + [3] * (1 + len(speaks.get(n, ())))
    ]
    turn, stream = np.array(rows, int).reshape(-1, 2).T
    slot = np.arange(len(turn)) - np.searchsorted(turn, turn)
    table = TokenTable(
        stream.astype(np.uint8),
        turn.astype(np.int32),
        slot.astype(np.int32),
        np.array([_token(speaks, n, s, k) for n, s, k in zip(turn, stream, slot, strict=True)], np.int32),
        dict(enumerate(VOCABULARY)),
    )
    lag = rng.random((turns, 5, 64)) * (np.arange(64) <= np.arange(turns)[:, None])[:, None]
    lag /= lag.sum((1, 2), keepdims=True)  # every row's weights sum to 1
    own = np.zeros((turns, TURN_SAMPLES), np.float32)
    own[list(speaks)] = 0.3 * np.sin(np.arange(TURN_SAMPLES) / 9)
    return Recording(
        inputs=Inputs(rng.uniform(-0.2, 0.2, turns * TURN_SAMPLES), TYPED if turns > 2 else ()),
        decisions=tuple("<speak>" if n in speaks else "<silent>" for n in range(turns)),
        p_speak=np.array([0.9 if n in speaks else 0.1 for n in range(turns)], np.float32),
        words=tuple(speaks.get(n, ()) for n in range(turns)),
        audio_out=own.reshape(-1),
        tokens=table,
        seed=7,
        checkpoint={"name": "nano", "sha256": "0123456789abcdef"},
        attention=Attention(5, 1, STREAM_NAMES, lag.astype(np.float16), lag.sum(2).astype(np.float32)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def recording() -> Recording:
    return _recording()


@pytest.fixture(scope="session")
def long_recording() -> Recording:
    """Three minutes: too long for its sound to lie inside the page."""
    return _recording(900)


@pytest.fixture(scope="session")
def recording_of() -> Callable[[int], Recording]:
    """A recording of so many turns."""
    return _recording


@pytest.fixture(scope="session")
def clip() -> Recording:
    """12 seconds."""
    return _recording(60)
