"""The timeline page in a real browser: drawn, moved by keys, and heard."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")]


def known_recording():
    """The recording of the plot tests."""
    path = Path(__file__).parents[1] / "plot" / "conftest.py"
    spec = importlib.util.spec_from_file_location("plot_fixtures", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._recording()


def test_page(tmp_path):
    from tml_lab.plot.timeline import write_timeline

    page_file = write_timeline(known_recording(), tmp_path / "timeline.html", "known")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None
        )
        page.goto(page_file.as_uri())
        readout = page.locator("#readout")
        assert readout.inner_text().startswith(
            "turn 6 · hears 1.2 to 1.4 s, plays 1.4 to 1.6 s · decides speak"
        )
        assert "says five" in readout.inner_text()

        pixels = "() => new Set(new Uint32Array(ctx.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
        page.wait_for_function(f"() => ({pixels})() > 20")  # painted, in many colours

        page.keyboard.press("ArrowRight")
        assert readout.inner_text().startswith("turn 7 ")
        page.keyboard.press("Shift+ArrowLeft")
        assert readout.inner_text().startswith("turn 5 ")
        page.keyboard.press("n")
        page.keyboard.press("n")
        assert readout.inner_text().startswith("turn 13 ")  # the words of turn 12 sound while turn 13 hears
        page.keyboard.press("+")
        assert page.evaluate("view.to - view.from") == pytest.approx(4.2 * 0.6)
        page.locator("#tiers").click(position={"x": 2, "y": 60})
        assert page.evaluate("cursor") == pytest.approx(page.evaluate("view.from"), abs=0.02)

        page.keyboard.press("Home")
        page.keyboard.press(" ")
        page.wait_for_function("() => cursor > 0.3")  # the players run and the cursor follows
        page.keyboard.press(" ")
        assert page.evaluate("players.every((player) => player.paused)")
        page.locator("summary").click()
        assert page.locator("#words tr").count() == 5
        assert "</script>" in page.locator("#words").inner_text()
        browser.close()
    assert wrong == []
