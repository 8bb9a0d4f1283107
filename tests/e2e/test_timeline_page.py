"""The timeline as a page in a real browser: drawn, moved by keys, heard; it asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from widget_page import COLOURS, plot_fixtures

from tml_lab.config import TURN_SAMPLES
from tml_lab.plot.esm import link
from tml_lab.plot.timeline import STATIC, write_timeline

pytestmark = pytest.mark.e2e


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    yield page
    page.close()
    assert wrong == []


def test_a_short_one_with_its_sound_inside(page: Page, tmp_path: Path) -> None:
    page.goto(write_timeline(plot_fixtures()._recording(), tmp_path / "timeline.html", "known").as_uri())
    readout = page.locator(".tml-readout")
    page.wait_for_function("() => window.timeline")
    assert readout.inner_text().startswith("turn 6 · hears 1.2 s to 1.4 s · plays 1.4 s to 1.6 s · decides speak")
    for lane in ("heard", "heard: spectrogram", "heard: dMel", "looked back", "own voice"):
        page.wait_for_function(f"(name) => ({COLOURS})(name) >= 3", arg=lane)
    assert not page.locator('[data-menu="export"]').is_visible()  # there is no Python to write files
    page.locator(".tml-stage").focus()
    page.keyboard.press("ArrowRight")
    assert readout.inner_text().startswith("turn 7 ")
    page.keyboard.press("+")
    assert page.evaluate("timeline.axis.span") == pytest.approx(2.1)
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.wait_for_function("() => timeline.t > 0.3")  # FLAC decoded, scheduled, and followed
    assert page.evaluate("timeline.sound.playing")
    page.keyboard.press(" ")
    assert not page.evaluate("timeline.sound.playing")


# Of the pixels of a lane between two seconds: how many are drawn on, and how many colours there are.
DRAWN = """([name, from, to]) => {
  const canvas = document.querySelector(`[data-lane="${name}"] canvas`);
  const [left, right] = [from, to].map((t) => Math.round(timeline.axis.x(t) * devicePixelRatio));
  const data = canvas.getContext("2d").getImageData(left + 2, 2, right - left - 4, 20).data;
  const pixels = Array.from(new Uint32Array(data.buffer));
  const count = new Map();
  for (const pixel of pixels) count.set(pixel, (count.get(pixel) ?? 0) + 1);
  const [ground, most] = [...count].sort((a, b) => b[1] - a[1])[0];
  return { ground, drawn: 1 - most / pixels.length };
}"""


def test_gaps_and_skipped_turns_each_have_a_pattern_and_a_name(page: Page, tmp_path: Path) -> None:
    recording = plot_fixtures()._recording()
    turns = recording.inputs.audio.reshape(-1, TURN_SAMPLES).copy()
    turns[[3, 9, 10]] = 0.0
    inputs = replace(recording.inputs, audio=turns.reshape(-1), gaps=(3,), skipped=(9, 10))
    page.goto(write_timeline(replace(recording, inputs=inputs), tmp_path / "timeline.html", "caught up").as_uri())
    page.wait_for_function("() => window.timeline")
    expect(page.locator('[data-lane="heard"] .tml-legend span')).to_have_text(["gap", "skipped"])  # lanes come later
    page.wait_for_function(f"(name) => ({COLOURS})(name) >= 3", arg="heard")
    gap, skipped = (page.evaluate(DRAWN, ["heard", *span]) for span in ((0.6, 0.8), (1.8, 2.2)))
    assert skipped["drawn"] > 1.4 * gap["drawn"] > 0.1, "crossed, where the other is hatched once"
    assert skipped["ground"] != gap["ground"], "on grey"
    for turn, told in ((3, "decides silent"), (9, "skipped, never computed")):
        page.evaluate(f"timeline.moveTo({turn} * 0.2)")
        expect(page.locator(".tml-readout")).to_contain_text(told)


def test_a_long_one_with_its_sound_beside(page: Page, tmp_path: Path) -> None:
    recording = plot_fixtures()._recording(900)
    recording.save(tmp_path / "recording")
    voice = tmp_path / "output.wav"
    voice.write_bytes((tmp_path / "recording" / "own.wav").read_bytes())
    page.goto(write_timeline(recording, tmp_path / "timeline.html", "long", voice).as_uri())
    page.wait_for_function("() => window.timeline")
    drawn = "() => [...document.querySelectorAll('canvas')].length > 1"  # the lanes come after the page
    page.wait_for_function(drawn)
    page.wait_for_function(f"(name) => {{ try {{ return ({COLOURS})(name) >= 3; }} catch {{ return false; }} }}",
                           arg="heard: spectrogram")
    page.locator(".tml-stage").focus()
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.wait_for_function("() => timeline.t > 0.3")
    assert page.evaluate("timeline.sound.player.files.every((file) => !file.paused)")
    page.keyboard.press(" ")
    assert page.evaluate("timeline.sound.player.files.every((file) => file.paused)")


STRETCH = """async ([module, speed]) => {
  const { Stretcher } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const tone = Float32Array.from({ length: 64000 }, (_, n) => 0.5 * Math.sin((2 * Math.PI * 200 * n) / 16000));
  const stretcher = new Stretcher(speed), out = [];
  for (let at = 0; at < tone.length; at += 32000) {
    const piece = tone.subarray(at, at + 32000);
    out.push(...stretcher.push([piece, piece])[0]);
  }
  return out;
}"""


@pytest.mark.parametrize("speed", [0.5, 0.75, 1.5])
def test_half_speed_keeps_the_pitch(page: Page, speed: float) -> None:
    sound = np.array(page.evaluate(STRETCH, [link(STATIC / "stretch.js"), speed]), np.float32)
    assert len(sound) / 64000 == pytest.approx(1 / speed, rel=0.03)
    middle = sound[1000:-1000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * 16000 / len(middle) == pytest.approx(200, abs=1)
    loud = np.abs(middle).reshape(-1)[: len(middle) // 160 * 160].reshape(-1, 160).max(1)
    assert loud.min() > 0.42  # no holes where windows meet
