"""A figure in JupyterLab turns with the page: light, dark, and light again, without being drawn anew."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from lab import Lab, browser_with
from playwright.sync_api import Page, Playwright

from tml_lab.plot.contrast import channels
from tml_lab.plot.style import PAPER, SERIES
from tml_lab.plot.theme import turned

pytestmark = pytest.mark.e2e

CELL = """
import plotly.graph_objects as go
from tml_lab.plot.style import SERIES, finish
bars = go.Figure(go.Bar(y=[1] * len(SERIES), marker_color=SERIES, marker_line_width=0))
bars.update_xaxes(visible=False).update_yaxes(visible=False)
finish(bars, "A bar for each colour, all of 1.").show()
"""
FIGURE = ".js-plotly-plot"
TURNED = f"(dark) => (getComputedStyle(document.querySelector('{FIGURE}')).filter !== 'none') === dark"
SPLASH = "#jupyterlab-splash"
PIXELS = """async ([picture, places]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + picture;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return places.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3));
}"""
PLACES = """() => {
  const figure = document.querySelector(".js-plotly-plot").getBoundingClientRect();
  const bars = [...document.querySelectorAll(".js-plotly-plot .point path")].map((bar) => bar.getBoundingClientRect());
  return bars.map((bar) => [bar.left + bar.width / 2 - figure.left, bar.top + bar.height / 2 - figure.top]);
}"""


@pytest.fixture(scope="module")
def page(playwright: Playwright, lab: Lab) -> Iterator[Page]:
    browser = browser_with(playwright)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    lab.show(page, CELL, ready=f"{FIGURE} .point path")
    yield page
    browser.close()


def seen(page: Page, theme: str) -> np.ndarray:
    """The colours of the paper and of the bars on the screen in a theme: from 0 to 1, `[1 + bars, 3]`."""
    page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    page.wait_for_function(TURNED, arg=theme.endswith("Dark"))
    page.wait_for_selector(SPLASH, state="detached")  # lies over the page while the theme changes, and fades
    figure = page.locator(FIGURE)
    figure.scroll_into_view_if_needed()
    picture = base64.b64encode(figure.screenshot()).decode()
    return np.array(page.evaluate(PIXELS, [picture, [[6, 6], *page.evaluate(PLACES)]])) / 255


def test_a_figure_turns_with_the_theme_and_back(page: Page) -> None:
    meant = np.stack([channels(colour) for colour in (PAPER, *SERIES)])
    for theme in ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Light"):
        expected = turned(meant) if theme.endswith("Dark") else meant
        np.testing.assert_allclose(seen(page, theme), expected, atol=3 / 255)
