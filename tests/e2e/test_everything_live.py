"""`nano-everything` in the browser: a typed line, a request of its own, the panel beside the talk, the answer aloud."""

from __future__ import annotations

import numpy as np
import pytest
from lab import Lab, browser_with, type_to_model, until_turn, write_microphone
from playwright.sync_api import Playwright, expect

pytestmark = pytest.mark.e2e

LIVE = """
from tml_widgets import LiveSession, Microphone
live = LiveSession("nano-everything", Microphone(headphones=True))
live
"""


def test_it_asks_its_tools_by_itself_and_says_what_came_back(playwright: Playwright, lab: Lab) -> None:
    write_microphone(lab.folder / "quiet.wav", np.zeros(60 * 16_000, np.float32))
    browser = browser_with(playwright, lab.folder / "quiet.wav")
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, LIVE)
    expect(page.get_by_label("Layer whose attention is shown")).to_be_visible(timeout=60_000)  # it is loaded
    expect(page.get_by_text("what is A times B")).to_have_count(1)  # in the list of what it understands
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Listening", timeout=30_000)
    beside = page.get_by_label("Beside the conversation")

    type_to_model(page, "put bread on the list")
    expect(beside.get_by_role("checkbox", name="bread")).to_be_visible(timeout=20_000)
    with lab.kernel(page) as kernel:
        assert kernel.get("[task.request for task in live._worker.session.tasks.values()]") == ["add bread"]
        turns = kernel.get("len(live.turns)")
    type_to_model(page, "what is twelve times fourteen")
    until_turn(page, turns + 41, seconds=30.0)
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Stopped")
    with lab.kernel(page) as kernel:
        said = kernel.get("' '.join(word for row in live.turns for word in row.words)")
        asked = kernel.get("[request for _, request in live.recording.requests()]")
    browser.close()
    assert asked == ["list add bread", "calculator twelve times fourteen"]
    assert said.endswith("that is one hundred sixty eight"), said
