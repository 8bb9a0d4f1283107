"""Figures turn dark with a dark page: text stays readable, colours apart, and nothing happens outside of notebooks."""

from __future__ import annotations

import itertools

import numpy as np
import plotly.io as pio
import pytest
from plotly.colors import sample_colorscale
from test_figures import EYES, lab

from tml_lab.plot.contrast import channels, inks_on
from tml_lab.plot.contrast import contrast as contrast_of
from tml_lab.plot.grid import plot_table
from tml_lab.plot.style import (
    AMOUNT,
    COLOURS,
    INK,
    LEANING,
    ON_DARK,
    PAPER,
    SERIES,
    SILENT_COLOUR,
    SOFT,
    SPEAK_COLOUR,
    finish,
)
from tml_lab.plot.theme import HUE, INVERT, RENDERER, SATURATE, follow_page, page_style
from tml_lab.plot.theme import turned as turned_channels


def hexadecimal(rgb: np.ndarray) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb.tolist())


def turned(colour: str) -> str:
    """A colour as the page's style shows it (tests/e2e/test_theme_lab.py looks at it in a browser)."""
    return hexadecimal(turned_channels(channels(colour)))


def contrast(one: str, other: str) -> float:
    return float(contrast_of(channels(one), channels(other)))


def cell_of(share: float, scale) -> str:
    """The colour at a share of a colour scale."""
    (cell,) = sample_colorscale(scale, [share], colortype="tuple")
    return hexadecimal(np.array(cell))


def test_text_is_readable_on_light_and_dark_pages():
    for ink in (INK, SOFT):
        assert contrast(ink, PAPER) >= 4.5 and contrast(turned(ink), turned(PAPER)) >= 4.5
    assert turned(PAPER) == "#0f0f0f"


def test_no_grey_is_readable_on_both_pages():  # why the style turns colours, and no transparent paper was taken
    greys = [f"#{n:02x}{n:02x}{n:02x}" for n in range(256)]
    assert max(min(contrast(grey, "#ffffff"), contrast(grey, "#111111")) for grey in greys) < 4.5


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#ffffff", "#000000") == pytest.approx(21) and contrast("#123456", "#123456") == 1
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the best known grey that just fails


@pytest.mark.parametrize("scale", [AMOUNT, LEANING])
def test_numbers_in_cells_take_the_better_ink(scale):
    shares = np.linspace(0, 1, 101)
    for share, ink in zip(shares, inks_on(shares, scale), strict=True):
        cell, other = cell_of(share, scale), PAPER if ink == INK else INK
        mine, others = (min(contrast(a, cell), contrast(turned(a), turned(cell))) for a in (ink, other))
        assert mine >= others - 0.05 and mine > 2.8  # no ink does better than 3 on every middling cell on both pages
    assert inks_on(np.array([np.nan]), scale) == [INK]  # an empty cell shows the paper


def test_a_table_shows_its_numbers_in_those_inks():
    figure = plot_table(np.array([[1.0, -0.001], [np.nan, -1.0]]), ["a", "b"], ["c", "d"], "table", "Two by two.")
    _, numbers = figure.data
    assert numbers.text == ("1.00", "0.00", "", "-1.00") and numbers.x == ("c", "d", "c", "d")
    assert numbers.textfont.color[0] == PAPER and numbers.textfont.color[1] == INK


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
