"""What the page hears becomes a voice on the disk, or a sentence about what was wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tml_lab.worlds.reading import open_takes
from tml_widgets import VoiceReader

TEXTS = ("one", "stop now", "one")


def clip(loud: float = 0.3, cut: bool = False) -> list[bytes]:
    t = np.arange(24_000) / 16_000
    tone = loud * np.sin(2 * np.pi * 250 * t) * ((t > 0.4) & (t < (2.0 if cut else 0.9)))
    return [(tone * 32767).astype("<i2").tobytes()]


@pytest.fixture
def reader(tmp_path: Path) -> VoiceReader:
    return VoiceReader(tmp_path / "me", TEXTS)


def test_longer_texts_stand_there_longer(reader: VoiceReader) -> None:
    assert reader.seconds[1] > reader.seconds[0] == reader.seconds[2]
    assert "0 of 3 read" in repr(reader)


def test_each_clip_is_on_the_disk_at_once_and_again_after_a_restart(reader: VoiceReader) -> None:
    for n in (0, 1):
        reader._on_message(reader, {"kind": "clip", "n": n}, clip())
    assert reader.taken == [True, True, False] and reader.note == ""
    again = VoiceReader(reader.folder, TEXTS)
    assert again.taken == [True, True, False]
    again._on_message(again, {"kind": "clip", "n": 2}, clip())
    assert {text: len(takes) for text, takes in open_takes(again.folder).items()} == {"one": 2, "stop now": 1}
    again._on_message(again, {"kind": "again", "n": 1}, [])
    assert again.taken == [True, False, True]


def test_what_cannot_be_used_is_said_and_nothing_is_lost(reader: VoiceReader) -> None:
    reader._on_message(reader, {"kind": "clip", "n": 0}, clip())
    reader._on_message(reader, {"kind": "clip", "n": 1}, clip(loud=0.0))
    assert "nothing could be heard at 'stop now'" in reader.note
    reader._on_message(reader, {"kind": "clip", "n": 1}, clip(cut=True))
    assert "cut off at its end" in reader.note
    assert reader.taken == [True, False, False]
    assert {*open_takes(reader.folder)} == {"one"}


@pytest.mark.parametrize("content", [None, {}, {"kind": "clip"}, {"kind": "clip", "n": 9}, {"kind": "clip", "n": "0"}])
def test_messages_of_another_kind_do_nothing(reader: VoiceReader, content: object) -> None:
    reader._on_message(reader, content, clip())
    reader._on_message(reader, {"kind": "clip", "n": 0}, [])
    assert reader.taken == [False, False, False]
