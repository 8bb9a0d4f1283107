"""Figures turn dark with a dark page: text stays readable, colours apart, and nothing happens outside of notebooks."""

from __future__ import annotations

import itertools

import numpy as np
import plotly.io as pio
import pytest
from test_figures import EYES, lab

from tml_lab.plot.style import COLOURS, INK, ON_DARK, PAPER, SERIES, SILENT_COLOUR, SOFT, SPEAK_COLOUR, finish
from tml_lab.plot.theme import HUE, INVERT, RENDERER, SATURATE, follow_page, page_style

# How `hue-rotate` and `saturate` turn red, green and blue. Source: Filter Effects Module Level 1, section 9.6.
GREY = np.array([[0.213, 0.715, 0.072]] * 3)
SINE = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])


def turned(colour: str) -> str:
    """A colour as the page's style shows it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    angle, rest = np.radians(HUE), np.eye(3) - GREY
    rgb = INVERT + (1 - 2 * INVERT) * rgb
    rgb = np.clip((GREY + np.cos(angle) * rest + np.sin(angle) * SINE) @ rgb, 0, 1)
    rgb = np.clip((GREY + SATURATE * rest) @ rgb, 0, 1)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def contrast(one: str, other: str) -> float:
    """Contrast of two colours. Source: WCAG 2.2."""
    bright = []
    for colour in (one, other):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        bright.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(bright) + 0.05) / (min(bright) + 0.05)


def test_text_is_readable_on_light_and_dark_pages():
    for ink in (INK, SOFT):
        assert contrast(ink, PAPER) >= 4.5 and contrast(turned(ink), turned(PAPER)) >= 4.5
    assert turned(PAPER) == "#141414"


def test_no_grey_is_readable_on_both_pages():  # why the style turns colours, and no transparent paper was taken
    greys = [f"#{n:02x}{n:02x}{n:02x}" for n in range(256)]
    assert max(min(contrast(grey, "#ffffff"), contrast(grey, "#111111")) for grey in greys) < 4.5


@pytest.mark.parametrize("eye", EYES)
def test_turned_colours_stay_apart_for_every_eye(eye):
    pairs = itertools.combinations([turned(colour) for colour in SERIES], 2)
    assert min(np.linalg.norm(lab(a, eye) - lab(b, eye)) for a, b in pairs) > 12


def test_orange_still_leans_to_speaking_and_blue_to_silence():
    red, _, blue = (int(turned(SPEAK_COLOUR)[i : i + 2], 16) for i in (1, 3, 5))
    assert red > 2 * blue
    red, _, blue = (int(turned(COLOURS["audio_in"])[i : i + 2], 16) for i in (1, 3, 5))
    assert blue > 2 * red
    assert contrast(turned(SILENT_COLOUR), turned(PAPER)) > contrast(SILENT_COLOUR, PAPER)


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, in a kernel's place; plotly's renderers are as before afterwards."""
    import IPython.display
    from plotly.io import _renderers

    before, displayed = pio.renderers.default, []
    monkeypatch.setattr(IPython.display, "display", lambda *what, **how: displayed.extend(what))
    monkeypatch.setattr(_renderers.ipython_display, "display", lambda what, **how: displayed.append(what))
    yield displayed
    pio.renderers.default = before


def small():
    import plotly.graph_objects as go

    return finish(go.Figure(go.Bar(x=["a"], y=[1])), "One bar of 1.")


def test_a_figure_shown_in_a_notebook_brings_the_style_along(shown):
    pio.renderers.default = "plotly_mimetype"
    small().show()
    small()._ipython_display_()
    assert pio.renderers.default == f"plotly_mimetype+{RENDERER}"
    figure, style, *rest = shown
    assert figure["application/vnd.plotly.v1+json"]["layout"]["paper_bgcolor"] == PAPER
    assert style.data == page_style() and len(rest) == 2


@pytest.mark.parametrize("where", ["browser", "json", "png"])
def test_elsewhere_nothing_changes(shown, where):
    pio.renderers.default = where
    follow_page()
    assert pio.renderers.default == where


def test_only_white_paper_is_turned():
    assert ON_DARK[PAPER] != PAPER  # a figure that is dark already does not match the style's selector
    assert page_style().count('style*="rgb(255, 255, 255)"') == 2
    assert f"invert({INVERT}) hue-rotate({HUE}deg) saturate({SATURATE})" in page_style()
