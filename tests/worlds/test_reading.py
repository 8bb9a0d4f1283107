"""A voice that somebody read in: what is kept comes back, what cannot be used is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.worlds.lexicon import NUMBERS, OPPOSITES
from tml_lab.worlds.reading import (
    READING,
    ReadingError,
    gather,
    last_takes,
    open_takes,
    open_voice,
    usable,
    without_last_takes,
    write_voice,
)
from tml_lab.worlds.voices import normal_text


def beep(seconds: float = 0.4, before: float = 0.3, after: float = 0.3, pitch: float = 300.0) -> np.ndarray:
    """A tone in silence, float32 [n at 16 kHz]."""
    t = np.arange(int((before + seconds + after) * 16_000)) / 16_000
    return (0.2 * np.sin(2 * np.pi * pitch * t) * ((t >= before) & (t < before + seconds))).astype(np.float32)


def test_what_is_read_is_what_is_asked_for() -> None:
    assert {*NUMBERS, *OPPOSITES} <= {*READING}
    assert all(READING.count(number) == 2 for number in NUMBERS)
    assert all(text == normal_text(text) for text in READING)


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.sampled_from(["one", "two", "what is my name"]), min_size=1, max_size=8))
def test_clips_come_back_in_their_order(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("voice")
    clips = [(text, usable(text, beep(pitch=200.0 + 40 * n))) for n, text in enumerate(texts)]
    write_voice(folder, clips)
    takes = open_takes(folder)
    for text in set(texts):
        wanted = [clip for other, clip in clips if other == text]
        assert len(takes[text]) == len(wanted)
        for found, clip in zip(takes[text], wanted, strict=True):
            np.testing.assert_allclose(found, clip, atol=1e-4)  # FLAC keeps 16 bits
    assert not list(folder.glob("*.tmp"))


def test_the_last_take_is_kept_for_a_test(tmp_path: Path) -> None:
    write_voice(tmp_path, [(text, usable(text, beep())) for text in ("one", "two", "one", "red")])
    person = open_voice(tmp_path)
    learned, tested = without_last_takes(person), last_takes(person, NUMBERS)
    assert (learned.takes("one"), learned.takes("two"), learned.takes("red")) == (1, 1, 1)
    assert tested.texts == ("one",)
    assert not {*learned._rows["one"]} & {*tested._rows["one"]}


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (np.zeros(16_000, np.float32), "nothing could be heard at 'seven'"),
        (np.full(16_000, np.nan, np.float32), "'seven' is not one channel of finite samples"),
        (beep(before=0.0), "'seven' was cut off at its beginning"),
        (beep(after=0.0), "'seven' was cut off at its end"),
    ],
)
def test_what_cannot_be_used_is_told(audio: np.ndarray, words: str) -> None:
    with pytest.raises(ReadingError, match=words):
        usable("seven", audio)


def test_recordings_named_by_what_they_say(tmp_path: Path) -> None:
    for name in ("seven", "seven_2", "What is my name"):
        soundfile.write(tmp_path / f"{name}.wav", beep(), 16_000)
    person = open_voice(gather(tmp_path))
    assert {text: person.takes(text) for text in person.texts} == {"seven": 2, "what is my name": 1}
    assert open_voice(tmp_path).texts == person.texts, "gathered once, then read as it is"


def test_a_folder_without_a_voice(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="there is no folder"):
        open_voice(tmp_path / "nobody")
    with pytest.raises(ReadingError, match=r"seven\.wav"):
        open_voice(tmp_path)
    write_voice(tmp_path, [("one", beep())])
    index = tmp_path / "voice.json"
    index.write_text(index.read_text()[:40])
    with pytest.raises(ReadingError, match="is damaged"):
        open_voice(tmp_path)
    with pytest.raises(ReadingError, match="nothing was read"):
        write_voice(tmp_path, [])
