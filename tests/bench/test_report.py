"""The report: every item with its timeline, sound and pictures; right and wrong told apart; no name escapes."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from tests.bench.scenes import cue, scene, user
from tml_lab.bench import cuespeak, late_chunks, registry, repcount, restraint, tools
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.emissions import Emissions, spoken_as
from tml_lab.bench.grading import grade_item
from tml_lab.bench.own_voice import voice_of
from tml_lab.bench.report import MEDIA, Played, Report
from tml_lab.bench.report_media import png, strip
from tml_lab.bench.report_timeline import describe, item_svg
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.vocoder import Vocoder
from tml_lab.worlds.reply_voice import silence_mel
from tml_lab.worlds.stage import Episode


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
    logs = OracleLatePlayer().play([seen])
    figures = {"strict": {"value": 0.5, "low": 0.0, "high": 1.0, "n": 2}, "none": {"value": None, "n": 0}}
    report = Report(tmp_path / "out", "nano <0>")
    heard = report.add(Played(cuespeak.BENCHMARK, "test", [item], [log], figures))
    film = report.add(Played(repcount.BENCHMARK, "test", [seen], logs, {}))
    index = report.path.read_text()
    assert "nano &lt;0&gt;" in index and "0.500 [0.000, 1.000], n = 2" in index
    assert 'href="cuespeak-test.html"' in index and 'href="repcount-test.html"' in index
    assert 'class="item wrong"' in heard.read_text() and 'class="item right"' in film.read_text()
    for page in (index, heard.read_text(), film.read_text()):
        assert "{{" not in page and page.count("<details") == (page != index)
        for name in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert (tmp_path / "out" / name).is_file()
    sound, rate = soundfile.read(tmp_path / "out" / "items" / "cuespeak-test-000.ogg")
    assert rate == 16_000 and sound.shape == (30 * TURN_SAMPLES, 2)
    assert 'alt="What the camera saw' in film.read_text()


def test_all_items_are_on_the_page_and_the_first_of_each_family_can_be_heard(tmp_path: Path) -> None:
    item, log = example()
    items = [replace(item, family=family, seed=n) for family in ("repeat_numbers", "next_number") for n in range(15)]
    for media in (MEDIA, 2, 0):
        report = Report(tmp_path / str(media), "nano", media=media)
        page = report.add(Played(cuespeak.BENCHMARK, "test", items, [log] * 30, {})).read_text()
        assert page.count("<details") == page.count("<svg role") == 30 and page.count("<audio") == 2 * media
        assert len(list((tmp_path / str(media) / "items").iterdir())) == 2 * media
        assert "Of 30 items 30 are wrong" in page and "next_number 14: wrong" in page


def test_an_item_is_wrong_by_the_benchmarks_own_rule_and_the_page_says_by_which_figure(tmp_path: Path) -> None:
    quiet = scene("noise", 20)
    logs = [spoken_as(20, [(5, "hello")]), spoken_as(20, [])]
    report = Report(tmp_path, "nano")
    page = report.add(Played(restraint.BENCHMARK, "test", [quiet, quiet], logs, {})).read_text()
    first, second = re.findall(r'<details class="item (\w+)" id="[^"]+"><summary>([^<]+)</summary>', page)
    assert first == ("wrong", "noise 0: wrong (false_starts)") and second == ("right", "noise 0: right")
    assert "Of 2 items 1 are wrong: 1 by false_starts." in page and "1 by false_starts" in report.path.read_text()
    asking = scene("tools", 20)
    asking.requests = [(5, "calculator two times three")]
    asked = Emissions(20, (), ("<silent>",) * 20, requests=((5, "clock <now>"),))
    page = report.add(Played(tools.BENCHMARK, "test", [asking], [asked], {})).read_text()
    assert "wrong (pass1)" in page
    assert "It asked for: clock &lt;now&gt;. Wanted: calculator two times three." in page


class Fixed:
    """Says the same in every item."""

    def __init__(self, name: str, *script: tuple[int, str]) -> None:
        self.name, self.script = name, script

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [spoken_as(item.n_turns, self.script) for item in episodes]


def test_a_run_writes_the_models_pages_and_those_of_a_benchmarks_own_players(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, _ = example()
    own = [Fixed("no faults", (6, "two"), (16, "three")), Fixed("20 % lost, each a gap")]
    ours = replace(cuespeak.BENCHMARK, items=lambda n, seed, split: [item] * n)
    late = replace(late_chunks.CUESPEAK, items=lambda n, seed, split: [item] * n, rows=lambda model, tokenizer: own)
    for benchmark in (ours, late):
        monkeypatch.setitem(registry.BENCHMARKS, benchmark.name, benchmark)
    model = SimpleNamespace(vocoder=Vocoder(8, 1))
    monkeypatch.setattr(registry, "load_checkpoint", lambda checkpoint, device: (model, None))
    monkeypatch.setattr(registry, "checkpoint_hash", lambda checkpoint: "0")
    monkeypatch.setattr(registry, "reference_players", lambda *_: [Fixed("silent")])
    monkeypatch.setattr(registry, "ModelPlayer", lambda *_, **__: Fixed("model", (6, "two")))
    quiet = Console(file=io.StringIO())
    registry.run(["cuespeak", "cuespeak_late"], n=2, console=quiet, report=tmp_path, media=1)
    names = ["cuespeak-test", "cuespeak_late-test-no-faults", "cuespeak_late-test-20-lost-each-a-gap"]
    assert {path.stem for path in tmp_path.glob("*.html")} == {"index", *names}
    index = (tmp_path / "index.html").read_text()
    assert re.findall(r'href="(.+?)\.html"', index) == names
    pages = [(tmp_path / f"{name}.html").read_text() for name in names]
    assert [page.count('class="item wrong"') for page in pages] == [2, 0, 2]
    assert [page.count("<audio") for page in pages] == [1, 0, 0]  # what was heard over the line is not kept
    assert "met_change" in pages[2] and "No item can be heard" in pages[2] and "No item" not in pages[0]


def test_two_players_never_write_the_same_page() -> None:
    for benchmark in registry.BENCHMARKS.values():
        if benchmark.rows is not None:
            players = benchmark.rows(None, None)
            assert len({Played(benchmark, "test", [], [], {}, p.name).name for p in players}) == len(players) > 1


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
        Report(tmp_path / "file", "nano")
