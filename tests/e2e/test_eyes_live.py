"""`pico-eyes` in the browser: a ball rolls before the camera, a line is typed, and the words stand on the strip."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from lab import Lab, browser_with, write_film, write_microphone
from playwright.sync_api import Playwright, expect

from tml_lab.config import VIDEO_SIZE
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.film import pictures
from tml_lab.worlds.seen.scene import Scene

pytestmark = pytest.mark.e2e

LIVE = """
from tml_widgets import LiveSession, Microphone
live = LiveSession("pico-eyes", Microphone(camera=True, headphones=True), save_to="saved")
live
"""
EVERY = 2.0  # seconds from one move to the next


def to_and_fro(seconds: float = 40.0) -> np.ndarray:
    """A red ball that goes left, right, left, right ...: `[frames, 120, 160, 3]`."""
    scene = Scene(np.random.default_rng(7))
    ball = scene.thing("ball", "red", Span(0, 99), 80, 62, size=11)
    for n in range(int(seconds / EVERY)):
        scene.move(ball, n * EVERY + 1.0, 0.6, -38 if n % 2 == 0 else 38, 0)
    return pictures(scene.script(round(seconds * 10)), VIDEO_SIZE).numpy()


def test_it_says_which_way_the_ball_before_the_camera_goes(playwright: Playwright, lab: Lab) -> None:
    write_microphone(lab.folder / "quiet.wav", np.zeros(60 * 16_000, np.float32))
    write_film(lab.folder / "ball.y4m", to_and_fro())
    browser = browser_with(playwright, lab.folder / "quiet.wav", lab.folder / "ball.y4m")
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, LIVE)
    expect(page.get_by_label("Layer whose attention is shown")).to_be_visible(timeout=60_000)  # it is loaded
    expect(page.locator(".tml-panel")).to_contain_text("tell me which way the X goes")
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Listening", timeout=30_000)
    page.get_by_label("Type to the model").fill("tell me which way the ball goes")
    page.keyboard.press("Enter")
    page.wait_for_function(
        r"(n) => Number(document.querySelector('.tml-described').textContent.match(/turn (\d+)/)?.[1] ?? -1) >= n",
        arg=75,
        timeout=60_000,
    )
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Stopped")
    page.locator(".tml-save").click()
    expect(page.locator(".tml-notice")).to_contain_text("Saved as saved/live-")
    with lab.kernel(page) as kernel:
        said = kernel.get("[word for row in live.turns for word in row.words]")
        same = kernel.get(
            "differences(again, live.recording)",
            "from tml_lab.stream.replay import differences, replay\n"
            "again = replay(live.recording, *live.checkpoint)",
        )
    browser.close()
    assert same == []
    turns_round = sum(one != other for one, other in pairwise(said))
    assert set(said) <= {"left", "right"} and len(said) >= 5 and turns_round >= len(said) - 2, said
