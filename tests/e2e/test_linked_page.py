"""Linked tracks in a real browser: the line under the pointer goes through all tracks, a click leaves a cursor."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")]

LAYOUT = """() => {
  const page = document.querySelector(".js-plotly-plot"), full = page._fullLayout;
  const box = page.getBoundingClientRect();
  const axes = Object.keys(full).filter((name) => /^yaxis\\d*$/.test(name)).map((name) => full[name]);
  return {
    left: box.left + full._size.l, width: full._size.w,
    tracks: axes.map((axis) => [box.top + axis._offset, axis._length]),
  };
}"""
SPIKES = """() => {
  const top = document.querySelector(".js-plotly-plot").getBoundingClientRect().top;
  return [...document.querySelectorAll(".spikeline")].map((line) =>
    ["x1", "y1", "y2"].map((name) => Number(line.getAttribute(name)) + (name === "x1" ? 0 : top)));
}"""
CURSOR = """() => {
  const page = document.querySelector(".js-plotly-plot");
  const shape = page.layout.shapes.find((one) => one.name === "cursor");
  const drawn = [...document.querySelectorAll(".shapelayer path")].map((path) => path.getBoundingClientRect())
    .filter((box) => box.height > 0).map((box) => [box.top, box.bottom, box.width]);
  const note = page.layout.annotations.find((one) => one.name === "readout");
  return { t: page.dataset.t, visible: shape.visible, x0: shape.x0, x1: shape.x1, drawn, note: note.text };
}"""


def known_timeline():
    """The recording of the plot tests, with a lens."""
    path = Path(__file__).parents[1] / "plot" / "conftest.py"
    spec = importlib.util.spec_from_file_location("plot_fixtures", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from tml_lab.plot.decision import lens_track
    from tml_lab.plot.linked import LinkedTracks

    recording = module._recording()
    return LinkedTracks(recording).add(lens_track(np.linspace(-3, 3, 80).reshape(4, 20)))


def test_one_cursor_in_all_tracks(tmp_path):
    page_file = tmp_path / "linked.html"
    page_file.write_text(known_timeline().to_html(), encoding="utf-8")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
        page.goto(page_file.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        layout = page.evaluate(LAYOUT)
        assert len(layout["tracks"]) == 5
        top, bottom = layout["tracks"][0][0], sum(layout["tracks"][-1])

        def x_of(seconds: float) -> float:
            return layout["left"] + layout["width"] * seconds / 4.2

        for n, (offset, length) in enumerate(layout["tracks"]):
            seconds = 0.5 + 0.4 * n
            page.mouse.move(x_of(seconds) - 9, offset + length / 2)
            page.mouse.move(x_of(seconds), offset + length / 2)
            at = x_of(seconds)
            page.wait_for_function(f"() => ({SPIKES})().some(([x]) => Math.abs(x - {at}) < 1.5)")
            _, high, low = page.evaluate(SPIKES)[0]
            assert high == pytest.approx(top, abs=2) and low == pytest.approx(bottom, abs=2)  # through all tracks
        assert not page.evaluate(CURSOR)["visible"]

        for n, (offset, length) in enumerate(layout["tracks"]):
            turn = 12 - n
            at = x_of((turn + 0.3) / 5)
            page.mouse.move(at, offset + length / 2)
            page.wait_for_function(f"() => ({SPIKES})().some(([x]) => Math.abs(x - {at}) < 1.5)")
            page.mouse.click(at, offset + length / 2)
            page.wait_for_function(f"() => document.querySelector('.js-plotly-plot').dataset.turn === '{turn}'")
            cursor = page.evaluate(CURSOR)
            assert cursor["visible"] and (cursor["x0"], cursor["x1"]) == (turn / 5, (turn + 1) / 5)
            assert cursor["note"].startswith(f"turn {turn}, {turn / 5:.1f} s: ")
            width = layout["width"] * 0.2 / 4.2
            assert any(box == pytest.approx([top, bottom, width], abs=3) for box in cursor["drawn"])
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("() => document.querySelector('.js-plotly-plot').dataset.turn === '7'")
        assert page.evaluate(CURSOR)["t"] == "1.4"
        assert page.locator("[role=figure]").get_attribute("aria-label").startswith("4.2 seconds.")
        browser.close()
    assert wrong == []
