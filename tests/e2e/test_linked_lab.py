"""Linked tracks as a widget in JupyterLab: a click in it is `line.t` in the kernel, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import REPOSITORY, Kernel, Lab, browser_with
from playwright.sync_api import Page, Playwright, TimeoutError

pytestmark = pytest.mark.e2e

CELL = f"""
import importlib.util
import numpy as np
spec = importlib.util.spec_from_file_location("plot_fixtures", {str(REPOSITORY / "tests/plot/conftest.py")!r})
known = importlib.util.module_from_spec(spec)
spec.loader.exec_module(known)
from tml_lab.plot.decision import lens_track
from tml_lab.plot.linked import LinkedTracks
line = LinkedTracks(known._recording()).add(lens_track(np.linspace(-3, 3, 80).reshape(4, 20)))
moves = []
line.observe(moves.append)
line
"""
PLACE = """([row, seconds]) => {
  const page = document.querySelector(".js-plotly-plot"), full = page._fullLayout, box = page.getBoundingClientRect();
  const axis = full[row ? `yaxis${row + 1}` : "yaxis"];
  return [box.left + full._size.l + full.xaxis.d2p(seconds), box.top + axis._offset + axis._length / 2];
}"""
HOVERED = """(x) => {
  const left = document.querySelector(".js-plotly-plot").getBoundingClientRect().left;
  const lines = [...document.querySelectorAll(".spikeline")].map((line) => left + Number(line.getAttribute("x1")));
  return lines.some((at) => Math.abs(at - x) < 2);
}"""
DRAWN = """() => document.querySelector(".js-plotly-plot")._fullLayout.shapes.find((one) => one.name === "cursor").x0"""


@pytest.fixture(scope="module")
def shown(playwright: Playwright, lab: Lab) -> Iterator[tuple[Page, Kernel]]:
    browser = browser_with(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, CELL, ready=".js-plotly-plot .main-svg")
    page.locator(".js-plotly-plot").scroll_into_view_if_needed()
    with lab.kernel(page) as kernel:
        yield page, kernel
    browser.close()


@pytest.mark.parametrize(("row", "turn"), [(2, 6), (0, 9), (3, 14), (4, 3)])  # p(speak), heard, said, lens
def test_a_click_in_any_track_is_the_kernels_time(shown: tuple[Page, Kernel], row: int, turn: int) -> None:
    page, kernel = shown
    x, y = page.evaluate(PLACE, [row, (turn + 0.4) / 5])
    for _ in range(3):  # see LinkedTracks.widget: on a busy machine a click may be lost, and a person clicks again
        page.mouse.move(x - 7, y)
        page.mouse.move(x, y)
        page.wait_for_function(HOVERED, arg=x)  # a click goes by the last hover, and hovers are throttled
        page.mouse.click(x, y)
        try:  # through the kernel and back
            page.wait_for_function(f"() => Math.abs(({DRAWN})() - {turn / 5}) < 1e-6", timeout=8000)
            break
        except TimeoutError:
            continue
    assert kernel.get("[line.turn, line.t, moves[-1]]") == [turn, turn / 5, turn / 5]


def test_the_cursor_follows_the_kernel(shown: tuple[Page, Kernel]) -> None:
    page, kernel = shown
    assert kernel.get("line.turn", setup="line.t = 3.5") == 17
    page.wait_for_function(f"() => Math.abs(({DRAWN})() - 3.4) < 1e-6")
