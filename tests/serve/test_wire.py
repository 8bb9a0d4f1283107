"""The form of messages: what is packed comes back to the bit, and what is no message is refused in one sentence."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tml_lab.serve.contract import Append, BadChunkError, BusyError, ChunkGapError, Reply, ServeError
from tml_lab.serve.jpeg import encode_jpeg
from tml_lab.serve.messages import (
    append_message,
    error_message,
    read_append,
    read_error,
    read_reply,
    reply_message,
)
from tml_lab.serve.wire import Message, from_pcm, pack, to_pcm, unpack
from tml_lab.stream.turn_result import TurnResult

FLOATS = arrays(np.float32, array_shapes(max_dims=3, max_side=20), elements=st.floats(width=32))


def raw(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"TML1" + struct.pack("<I", len(text)) + text + body


@given(st.dictionaries(st.text(min_size=1, max_size=8), FLOATS, max_size=4), st.integers(), st.text())
def test_any_floats_come_back_to_the_bit(parts: dict[str, np.ndarray], number: int, text: str) -> None:
    back = unpack(pack(Message("m", {"number": number, "text": text}, parts)))
    assert (back.kind, back.fields) == ("m", {"number": number, "text": text})
    assert list(back.arrays) == list(parts)
    for name, array in parts.items():
        assert back.arrays[name].shape == array.shape
        assert back.arrays[name].tobytes() == array.tobytes()  # NaN and -0.0 too


@given(arrays(np.float32, st.integers(0, 400), elements=st.floats(width=32), fill=st.just(0.0)))
def test_a_sparse_part_is_exact_and_never_larger(array: np.ndarray) -> None:
    data, dense = pack(Message("m", {}, {"a": array}), {"a": "sparse"}), pack(Message("m", {}, {"a": array}))
    assert unpack(data).arrays["a"].tobytes() == array.tobytes()
    assert len(data) <= len(dense) + 8


def test_sixteen_bits_are_close_and_half_the_size() -> None:
    sound = np.linspace(-1.2, 1.2, 3200).astype(np.float32)
    assert np.abs(from_pcm(to_pcm(sound)) - np.clip(sound, -1, 1)).max() <= 0.5 / 32768 + 1 / 32768
    assert len(append_message(Append(0, sound), "s16")) < 0.52 * len(append_message(Append(0, sound)))


def test_a_chunk_comes_back() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    sound = np.linspace(-1, 1, 3200).astype(np.float32)
    chunk, form = read_append(unpack(append_message(Append(7, sound, pixels, "stop now", 2), "f32")))
    assert (chunk.seq, chunk.text, chunk.lost, form) == (7, "stop now", 2, "f32")
    np.testing.assert_array_equal(chunk.audio, sound)
    np.testing.assert_array_equal(chunk.frames, pixels)
    assert read_append(unpack(append_message(Append(0, None))))[0].audio is None


def test_pictures_as_jpeg_are_nearly_the_same() -> None:
    y, x = np.mgrid[0:60, 0:80]
    pixels = np.stack([np.stack([3 * y, 2 * x, y + x], -1)] * 2).astype(np.uint8)
    data = append_message(Append(0, np.zeros(3200, np.float32), pixels), pictures="jpeg")
    chunk, _ = read_append(unpack(data))
    assert np.abs(chunk.frames.astype(int) - pixels).mean() < 2
    assert len(data) - 4 * 3200 < pixels.nbytes / 4


def test_a_small_file_that_claims_to_be_a_huge_picture_is_refused() -> None:
    data = bytearray(encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # 65535 x 65535 pixels
    with pytest.raises(BadChunkError, match="not a whole JPEG"):
        unpack(raw({"kind": "append", "parts": [["frames", "jpeg", [len(data)]]]}, bytes(data)))


def result(turn: int, seed: int) -> TurnResult:
    rng = np.random.default_rng(seed)
    seen = {"audio_in": rng.random(turn + 1).astype(np.float32), "text_in": np.zeros(turn + 1, np.float32)}
    sound = rng.standard_normal(3200).astype(np.float32) * (seed % 2)
    return TurnResult(turn, "<speak>", float(rng.random()), "a b", ("a", "b"), sound, {"total": 0.1}, seen, note="stop")


def test_a_reply_with_gaps_comes_back_to_the_bit() -> None:
    reply = Reply(5, result(5, 3), (result(3, 1), result(4, 2)), again=True, waited=0.25, model=1 / 3, shed=True)
    back = read_reply(unpack(reply_message(reply), max_parts=100))
    assert (back.seq, back.again, back.waited, back.model, back.shed) == (5, True, 0.25, 1 / 3, True)
    for a, b in zip([*back.gaps, back.turn], [*reply.gaps, reply.turn], strict=True):
        assert (a.turn, a.p_speak, a.words, a.timings, a.note) == (b.turn, b.p_speak, b.words, b.timings, "stop")
        assert a.audio.tobytes() == b.audio.tobytes()
        assert {s: w.tobytes() for s, w in a.attention.items()} == {s: w.tobytes() for s, w in b.attention.items()}


def test_a_refusal_comes_back_as_the_exception_it_was() -> None:
    for error in (ChunkGapError("chunk 3 is missing.", expected=3), BusyError("later.", retry_after=0.5)):
        fields = unpack(error_message(error, 9)).fields
        back = read_error(fields)
        assert fields["seq"] == 9 and type(back) is type(error)
        assert (str(back), back.retry_after, back.expected) == (str(error), error.retry_after, error.expected)
    assert type(read_error({"code": "of tomorrow", "sentence": "new."})) is ServeError
    assert "status 502" in str(read_error({}, 502))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "must begin with TML1"),
        (b"TML2" + bytes(9), "must begin with TML1"),
        (b"TML1" + struct.pack("<I", 2**31), "promises a header"),
        (raw(b"{"), "not valid JSON"),
        (raw(b'{"kind": "a", "x": NaN}'), "not valid JSON"),
        (raw(b"[" * 50_000), "not valid JSON"),
        (raw(b"[]"), "not a JSON object"),
        (raw({"kind": 3}), "needs a kind"),
        (raw({"kind": "a", "parts": {}}), "needs a kind"),
        (raw({"kind": "a", "parts": [["x", "f32"]]}), "each part is"),
        (raw({"kind": "a", "parts": [["x", "f32", []]]}), "each part is"),
        (raw({"kind": "a", "parts": [["x", "f32", [-1]]]}), "sizes of a part"),
        (raw({"kind": "a", "parts": [["x", "f32", [True]]]}), "sizes of a part"),
        (raw({"kind": "a", "parts": [["x", "f64", [1]]]}, bytes(8)), "one of f32"),
        (raw({"kind": "a", "parts": [["x", "f32", [2]]]}, bytes(7)), "ends early"),
        (raw({"kind": "a", "parts": [["x", "f32", [2]]]}, bytes(9)), "left over"),
        (raw({"kind": "a", "parts": [["x", "f32", [2**30, 2**30, 2**30]]]}), "more than a message"),
        (raw({"kind": "a", "parts": [["x", "sparse", [2**30, 0]]]}), "sparse part"),
        (raw({"kind": "a", "parts": [["x", "sparse", [4, 1]]]}, struct.pack("<If", 4, 1.0)), "beyond its length"),
        (raw({"kind": "a", "parts": [["x", "u8", [1]], ["x", "u8", [1]]]}, b"ab"), "two parts"),
        (raw({"kind": "a", "parts": [["x", "jpeg", [3]]]}, b"abc"), "JPEG"),
    ],
)
def test_what_is_no_message_is_refused_in_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(BadChunkError, match=said):
        unpack(data)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_a_damaged_message_is_refused_or_read_but_never_worse(noise: bytes, start: int, length: int) -> None:
    data = append_message(Append(3, np.zeros(3200, np.float32), np.zeros((2, 4, 4, 3), np.uint8), "hello"))
    try:
        read_append(unpack(data[:start] + noise + data[start + length :]))
    except BadChunkError as error:
        assert len(str(error).splitlines()) == 1
