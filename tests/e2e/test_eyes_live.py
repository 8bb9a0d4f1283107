"""`pico-eyes` in the browser: a ball rolls before the camera, a line is typed, and the words stand on the strip."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from lab import Lab, browser_with, stop_and_save, type_to_model, until_turn, write_film, write_microphone
from playwright.sync_api import Playwright, expect

from tests.rolling_ball import rolling

pytestmark = pytest.mark.e2e

LIVE = """
from tml_widgets import LiveSession, Microphone
live = LiveSession("pico-eyes", Microphone(camera=True, headphones=True), save_to="saved")
live
"""


def test_it_says_which_way_the_ball_before_the_camera_goes(playwright: Playwright, lab: Lab) -> None:
    write_microphone(lab.folder / "quiet.wav", np.zeros(60 * 16_000, np.float32))
    to_and_fro = rolling(["left", "right"] * 10, first=1.0, turns=200)
    write_film(lab.folder / "ball.y4m", to_and_fro.reshape(-1, *to_and_fro.shape[2:]))
    browser = browser_with(playwright, lab.folder / "quiet.wav", lab.folder / "ball.y4m")
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, LIVE)
    expect(page.get_by_label("Layer whose attention is shown")).to_be_visible(timeout=60_000)  # it is loaded
    expect(page.locator(".tml-panel")).to_contain_text("tell me which way the X goes")
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Listening", timeout=30_000)
    type_to_model(page, "tell me which way the ball goes")
    until_turn(page, 75)
    stop_and_save(page)
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
