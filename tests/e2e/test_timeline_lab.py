"""The timeline in JupyterLab: a click in it is `line.t` in the kernel, and the other way round; keys stay in it."""

from __future__ import annotations

import pytest
from lab import REPOSITORY, Kernel, Lab, browser_with
from playwright.sync_api import Playwright
from widget_page import COLOURS

pytestmark = pytest.mark.e2e

CELL = f"""
import importlib.util
import numpy as np
spec = importlib.util.spec_from_file_location("plot_fixtures", {str(REPOSITORY / "tests/plot/conftest.py")!r})
known = importlib.util.module_from_spec(spec)
spec.loader.exec_module(known)
from tml_lab.plot.decision import lens_track
from tml_widgets import Timeline
line = Timeline(known._recording(), lens_track(np.linspace(-3, 3, 80).reshape(4, 20)))
chosen = []
line.on_select(chosen.append)
line
"""
NOW = "document.querySelector('.tml-stage').getAttribute('aria-valuenow')"
AT = f"(t) => {NOW} === t"


def comes_to(kernel: Kernel, expression: str, wanted: object) -> bool:
    """Whether the page's news, which travels by itself, makes it so; asked again until it has arrived."""
    return any(kernel.get(expression) == wanted for _ in range(200))


def test_one_cursor_with_the_kernel(playwright: Playwright, lab: Lab) -> None:
    browser = browser_with(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, CELL, ready=".tml-timeline")
    page.locator(".tml-timeline").scroll_into_view_if_needed()
    page.wait_for_function(f"(name) => ({COLOURS})(name) >= 3", arg="heard: spectrogram")  # tiles came with messages
    cells = page.locator(".jp-Cell").count()
    with lab.kernel(page) as kernel:
        box = page.locator('[data-lane="heard"] canvas').bounding_box()
        page.mouse.click(box["x"] + box["width"] * 1.3 / 4.2, box["y"] + 20)
        assert comes_to(kernel, "line.turn", 6)
        kernel.get("0", setup="line.turn = 12")
        page.wait_for_function(AT, arg="2.4")
        page.keyboard.press("ArrowRight")  # and not the notebook's next cell
        page.wait_for_function(AT, arg="2.6")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("b")  # in a notebook's command mode: a new cell
        page.wait_for_function("() => document.querySelector('[data-menu=export] input').checked")
        assert comes_to(kernel, "[chosen and chosen[-1], line.t]", [pytest.approx([2.6, 2.8]), pytest.approx(2.8)])
        assert page.locator(".jp-Cell").count() == cells
        page.keyboard.press(" ")
        page.wait_for_function(f"() => {NOW} > 2.65")
        page.locator('[data-menu="export"] summary').click()
        page.get_by_role("button", name="TextGrid").click()
        page.wait_for_function("() => document.querySelector('.tml-status').textContent.startsWith('Written')")
    assert (lab.folder / "timeline.TextGrid").exists()
    browser.close()
