"""A remote session is the local one, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.serve.in_memory import InMemory
from tests.serve.loopback import served
from tests.serve.scene import assert_same
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.client import RemoteSessions
from tml_lab.serve.contract import Append, Sessions
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session

PATIENCE = 60


def inputs(turns: int, sound: Callable[..., np.ndarray]) -> list[Append]:
    audio = sound(turns).reshape(turns, -1)
    chunks = []
    for n in range(turns):
        pixels = np.random.default_rng(n).integers(0, 256, (2, 60, 80, 3), np.uint8)
        text = "remind me in two seconds" if n % 9 == 2 else None
        chunks.append(Append(n, audio[n], pixels if n % 4 == 1 else None, text))
    return chunks


@pytest.fixture(params=["engine", "one by one"])
def sessions(request: pytest.FixtureRequest, model: InteractionModel, tokenizer: TextTokenizer) -> Iterator[Sessions]:
    if request.param == "engine":
        with Engine(model, tokenizer, limits=Limits(waiting=3, shed=False)) as engine:  # three: often "later"
            yield engine
    else:
        yield InMemory(model, tokenizer)


@pytest.fixture
def remote(sessions: Sessions) -> Iterator[RemoteSessions]:
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
        mine = local.step(chunk.audio, chunk.frames, chunk.text)
        assert_same(reply.turn, mine)
        assert {stream: seen.tobytes() for stream, seen in reply.turn.attention.items()} == {
            stream: seen.tobytes() for stream, seen in mine.attention.items()
        }
    assert differences(remote.recording(opened.id), local.recording()) == []


def test_sixteen_bits_and_jpeg_are_near_and_smaller(
    remote: RemoteSessions, sessions: Sessions, sound: Callable[..., np.ndarray]
) -> None:
    with RemoteSessions(remote.url, sound="s16", pictures="jpeg", patience=PATIENCE) as small:
        opened = small.open(7)
        for chunk in inputs(3, sound):
            reply = small.append(opened.id, opened.writer, chunk).result(PATIENCE)
            assert reply.turn.audio.dtype == np.float32 and reply.turn.audio.shape == (3200,)
        heard = small.recording(opened.id).inputs
        assert np.abs(heard.audio - sound(3).clip(-1, 1)).max() < 2 / 32768
        assert heard.frames[1].shape == (2, 60, 80, 3)
