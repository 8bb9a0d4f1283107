"""A remote session is the local one, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.serve.in_memory import InMemory
from tests.serve.loopback import served
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.client import RemoteSessions
from tml_lab.serve.contract import Append
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

PATIENCE = 60


def inputs(turns: int, sound: Callable[..., np.ndarray]) -> list[Append]:
    audio = sound(turns).reshape(turns, -1)
    chunks = []
    for n in range(turns):
        pixels = np.random.default_rng(n).integers(0, 256, (2, 60, 80, 3), np.uint8)
        text = "remind me in two seconds" if n % 9 == 2 else None
        chunks.append(Append(n, audio[n], pixels if n % 4 == 1 else None, text))
    return chunks


def same(a: TurnResult, b: TurnResult) -> None:
    for name in ("turn", "decision", "p_speak", "text", "words", "request"):
        assert getattr(a, name) == getattr(b, name), name
    np.testing.assert_array_equal(a.audio, b.audio)
    assert a.audio.dtype == b.audio.dtype
    assert (a.attention is None) == (b.attention is None)
    for stream, weight in (a.attention or {}).items():
        np.testing.assert_array_equal(weight, b.attention[stream])


@pytest.fixture
def sessions(model: InteractionModel, tokenizer: TextTokenizer) -> InMemory:
    return InMemory(model, tokenizer)


@pytest.fixture
def remote(sessions: InMemory) -> Iterator[RemoteSessions]:
    with served(sessions) as url, RemoteSessions(url, patience=PATIENCE) as remote:
        yield remote


def test_remote_results_and_recordings_are_local_ones(
    remote: RemoteSessions, model: InteractionModel, tokenizer: TextTokenizer, sound: Callable[..., np.ndarray]
) -> None:
    chunks = inputs(30, sound)
    local = Session(model, tokenizer, seed=7, attention=(1, 0))
    opened = remote.open(7, (1, 0))
    futures = [remote.append(opened.id, opened.writer, chunk) for chunk in chunks]
    for chunk, future in zip(chunks, futures, strict=True):
        reply = future.result(PATIENCE)
        assert (reply.seq, reply.again) == (chunk.seq, False)
        same(reply.turn, local.step(chunk.audio, chunk.frames, chunk.text))
    assert differences(remote.recording(opened.id), local.recording()) == []
