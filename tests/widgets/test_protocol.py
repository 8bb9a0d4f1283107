"""Messages: what goes in comes out, and wrong sizes are refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.stream.tokens import STREAMS as MODEL_STREAMS
from tml_widgets.protocol import (
    LOOK_BACK,
    STREAMS,
    from_pcm,
    pack_attention,
    read_chunk,
    to_pcm,
    turn_message,
)


def message(seed: int = 0) -> tuple[dict, list[bytes], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    audio = rng.integers(-32768, 32768, 3200).astype(np.float32) / 32768
    frames = rng.integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
    content = {"kind": "chunk", "seq": 7, "t0": 12.5, "size": [160, 120], "parts": ["pcm", "rgb"]}
    return content, [to_pcm(audio), frames.tobytes()], audio, frames


@given(st.integers(0, 99))
def test_a_chunk_arrives_as_it_was_sent(seed: int) -> None:
    content, buffers, audio, frames = message(seed)
    chunk = read_chunk(content, [memoryview(data) for data in buffers])
    assert (chunk.seq, chunk.sent_at) == (7, 12.5)
    assert np.array_equal(chunk.audio, audio) and chunk.audio.dtype == np.float32
    assert chunk.frames is not None and np.array_equal(chunk.frames, frames)


def test_a_chunk_keeps_its_own_copy_of_the_bytes() -> None:
    content, buffers, audio, frames = message()
    mutable = [bytearray(data) for data in buffers]
    chunk = read_chunk(content, [memoryview(data) for data in mutable])
    for data in mutable:
        data[:] = bytes(len(data))
    assert np.array_equal(chunk.audio, audio)
    assert chunk.frames is not None and np.array_equal(chunk.frames, frames)


@pytest.mark.parametrize(
    ("change", "cut", "sentence"),
    [
        ({}, (0, 100), "holds 3150 samples"),
        ({}, (1, 6), "picture bytes, not 2x120x160x3"),
        ({"size": [80, 120]}, None, "picture bytes, not 2x120x80x3"),
        ({"parts": ["pcm"]}, None, "names 1 parts but carries 2 buffers"),
        ({"parts": ["sound", "rgb"]}, None, "holds 0 samples"),
    ],
)
def test_wrong_sizes_are_refused_in_one_sentence(change: dict, cut: tuple | None, sentence: str) -> None:
    content, buffers, *_ = message()
    if cut:
        buffers[cut[0]] = buffers[cut[0]][: -cut[1]]
    with pytest.raises(ValueError, match=sentence):
        read_chunk(content | change, buffers)


def test_loud_sound_is_clipped_and_never_wraps_round() -> None:
    assert from_pcm(to_pcm(np.array([2.0, 1.0, -1.0, -3.0]))) == pytest.approx([1, 1, -1, -1], abs=1e-4)


def test_attention_is_by_stream_and_turns_back() -> None:
    turns = LOOK_BACK + 50
    rng = np.random.default_rng(3)
    weights = rng.random((len(MODEL_STREAMS), turns)).astype(np.float32)
    weights /= weights.sum()
    data, shares = pack_attention(dict(zip(MODEL_STREAMS, weights, strict=True)))
    assert data is not None and shares is not None
    table = np.frombuffer(data, np.float32).reshape(len(STREAMS), LOOK_BACK)
    by_name = dict(zip(MODEL_STREAMS, weights, strict=True))
    assert np.allclose(table[STREAMS.index("heard")], by_name["audio_in"][::-1][:LOOK_BACK])
    own = by_name["text_out"] + by_name["audio_out"]
    assert np.allclose(table[STREAMS.index("own voice")], own[::-1][:LOOK_BACK])
    assert sum(shares) == pytest.approx(1, abs=1e-3)  # of all turns, not only those sent
    assert pack_attention(None) == (None, None)


def test_a_turn_message_names_exactly_the_buffers_it_carries() -> None:
    silent, none = turn_message({"turn": 1}, None, None)
    assert (silent["parts"], none) == ([], [])
    content, buffers = turn_message({"turn": 1}, np.zeros(3200, np.float32), b"abcd")
    assert content["parts"] == ["pcm", "attention"]
    assert [len(data) for data in buffers] == [6400, 4]
