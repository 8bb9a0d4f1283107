"""The report: every item with its timeline, sound and pictures; right and wrong told apart; no name escapes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.bench.scenes import cue, scene, user
from tml_lab.bench import cuespeak, repcount
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.emissions import spoken_as
from tml_lab.bench.grading import grade_item
from tml_lab.bench.report import KeptPlayer, Played, describe, item_svg, png, strip, voice_of, write_report
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.vocoder import Vocoder
from tml_lab.worlds.reply_voice import silence_mel


def example():
    item = scene("repeat_numbers", 30, expects=[cue("two", 1.0), cue("three", 3.0)], typed=[(1, 'repeat <b> & "all"')],
                 segments=[user(0.5, 1.0, "two"), user(2.5, 3.0, "three")])  # fmt: skip
    return item, spoken_as(30, [(6, "two"), (12, "nine")], turns_per_word=2)


def test_the_timeline_is_xml_and_shows_what_was_met_missed_and_strayed() -> None:
    item, log = example()
    svg = item_svg(item, log, grade_item(item.expects, log.spoken()))
    root = ET.fromstring(svg)
    kinds = [child.get("class") for child in root if child.tag == "svg"]
    assert kinds.count("due met") == kinds.count("due missed") == kinds.count("said") == kinds.count("stray") == 1
    assert "<b>" not in svg and "&lt;b&gt;" in svg
    assert "two at 1.0 s (met)" in root.get("aria-label", "")
    assert "nine at" in describe(item, log, grade_item(item.expects, log.spoken()))


def test_a_page_has_every_item_its_sound_and_its_pictures(tmp_path: Path) -> None:
    item, log = example()
    seen = repcount.items(1, 0, "test")[0]
    player = KeptPlayer(OracleLatePlayer())
    logs = player.play([seen])
    assert player.kept == [([seen], logs)] and player.name == "oracle-late"
    figures = {"strict": {"value": 0.5, "low": 0.0, "high": 1.0, "n": 2}, "none": {"value": None, "n": 0}}
    heard = Played(cuespeak.BENCHMARK, "test", [item], [log], figures)
    played = [heard, Played(repcount.BENCHMARK, "test", [seen], logs, {})]
    page = write_report(tmp_path / "out", played, "nano <0>").read_text()
    assert "nano &lt;0&gt;" in page and "0.500 [0.000, 1.000], n = 2" in page and "{{" not in page
    assert page.count("<details") == 2 and 'class="item wrong"' in page and 'class="item right"' in page
    for name in re.findall(r'src="([^"]+)"', page):
        assert (tmp_path / "out" / name).is_file()
    sound, rate = soundfile.read(tmp_path / "out" / "items" / "cuespeak-test-000.ogg")
    assert rate == 16_000 and sound.shape == (30 * TURN_SAMPLES, 2)
    assert 'alt="What the camera saw' in page


def test_the_own_voice_stands_a_turn_after_it_was_decided() -> None:
    _, log = example()
    vocoder = Vocoder(8, 1).eval()
    loud = silence_mel() + 3.0
    sound = voice_of(replace(log, voice={6: loud, 7: loud, 12: loud}), vocoder)
    assert sound.shape == (30 * TURN_SAMPLES,) and not sound[: 7 * TURN_SAMPLES].any()
    assert np.abs(sound[7 * TURN_SAMPLES : 9 * TURN_SAMPLES]).max() > 0
    assert not sound[9 * TURN_SAMPLES : 13 * TURN_SAMPLES].any()
    assert not voice_of(log, None).any()
    assert torch.equal(loud, silence_mel() + 3.0)


def test_a_picture_file_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    data = png(pixels)
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(data[start : start + length]), np.uint8).reshape(5, 22)
    assert not rows[:, 0].any() and np.array_equal(rows[:, 1:].reshape(5, 7, 3), pixels)
    assert strip(example()[0]) is None
    seen = repcount.items(1, 0, "test")[0]
    pictures = strip(seen)
    assert pictures is not None and pictures.shape == (120, 160 * -(-seen.n_turns // 10), 3)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write_report(tmp_path / "file", [], "nano")
