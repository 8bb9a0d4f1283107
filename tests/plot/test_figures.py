"""What holds for every figure: alt text, colours any eye tells apart, strict and small JSON, light and dark."""

from __future__ import annotations

import html
import itertools
import json
import re

import numpy as np
import plotly.io as pio
import pytest
from plot_inside import OF_MOMENTS, OVER_TIME

from tml_lab.plot.interp import plot_features
from tml_lab.plot.style import ON_DARK, SERIES, alt_of, in_dark, listed, plain, to_html, to_json

EVERY = {**OVER_TIME, **OF_MOMENTS}


def colours_in(text: str) -> set[str]:
    return set(re.findall(r"#[0-9a-f]{6}", text.lower()))


@pytest.fixture(scope="module", params=EVERY)
def figure(request, clip):
    return EVERY[request.param](clip)


def test_figure_is_small_and_strict_json(figure):
    text = to_json(figure)
    assert len(text) < 200_000
    json.loads(text, parse_constant=pytest.fail)


def test_figure_has_alt_text_that_names_numbers(figure):
    alt = alt_of(figure)
    assert len(alt) > 30 and re.search(r"\d", alt) and alt.endswith(".")
    assert "nan" not in alt and "&lt;" not in alt and ".." not in alt
    assert f'aria-label="{html.escape(alt)}"' in to_html(figure)


def test_figure_keeps_to_the_palette_in_light_and_dark(figure):
    shown = figure.to_plotly_json()
    shown["layout"].pop("template")
    light, before = colours_in(json.dumps(shown)), figure.to_json()
    assert light and light <= set(ON_DARK)
    dark = in_dark(figure).to_plotly_json()
    dark["layout"].pop("template")
    assert colours_in(json.dumps(dark)) == {ON_DARK[colour] for colour in light}
    assert figure.to_json() == before  # the light one stays as it was


def test_figure_is_dark_where_the_default_is(monkeypatch, clip):
    monkeypatch.setattr(pio.templates, "default", "plotly_dark")
    assert EVERY["lens"](clip).layout.paper_bgcolor == ON_DARK["#ffffff"]


@pytest.mark.parametrize("name", OVER_TIME)
@pytest.mark.parametrize("turns", [0, 1])
def test_almost_nothing_can_be_drawn(name, turns, recording_of):
    with np.errstate(all="raise"):
        figure = OVER_TIME[name](recording_of(turns))
    to_json(figure)
    assert figure.layout.xaxis.range == (0, 0.2 * (turns + 1)) and "nan" not in alt_of(figure)


@pytest.mark.parametrize("name", OVER_TIME)
def test_time_axis_is_seconds_from_zero_to_where_the_last_turn_ends_sounding(name, clip):
    figure = OVER_TIME[name](clip)
    assert figure.layout.xaxis.range == (0, 12.2)
    assert "seconds" in figure.layout.xaxis.title.text
    assert figure.layout.hovermode == "x unified" and figure.layout.hoversubplots == "axis"
    assert {trace.xaxis for trace in figure.data} == {"x"}  # one axis: one cursor
    domains = sorted(figure.layout[axis].domain for axis in figure.layout if axis.startswith("yaxis"))
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(domains))  # tracks do not overlap


# Linear RGB as protanopes and deuteranopes see it. Source: Machado, Oliveira and Fernandes 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* of a colour as an eye sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = TO_XYZ @ np.clip(np.array(EYES[eye]) @ linear, 0, 1) / [0.9505, 1, 1.089]
    f = [v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("dark", [False, True])
def test_colours_stay_apart_for_every_eye(eye, dark):
    colours = [ON_DARK[colour] if dark else colour for colour in SERIES]
    apart = {(a, b): np.linalg.norm(lab(a, eye) - lab(b, eye)) for a, b in itertools.combinations(colours, 2)}
    assert min(apart.values()) > 12, sorted(apart.items(), key=lambda pair: pair[1])[:3]


def test_numbers_are_plain():
    assert plain([1.23456789, np.nan, np.inf]) == [1.23457, None, None]
    assert plain(np.zeros((2, 0))) == [[], []]


def test_lists_of_words():
    assert listed([]) == "" and listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh"), 3) == "a, b and 6 more"


def test_page_needs_no_network_when_it_is_asked_to(clip):
    figure = OF_MOMENTS["dose"](clip)
    assert "cdn" in to_html(figure) and len(to_html(figure)) < 40_000
    offline = to_html(figure, offline=True)
    assert len(offline) > 1_000_000 and not re.search(r"<script[^>]*\ssrc=", offline)


@pytest.mark.parametrize("rows", [1, 6])
def test_labels_of_a_low_colour_bar_are_its_ends(clip, rows):
    figure = plot_features(clip, np.ones((clip.turns, rows)), [f"feature {n}" for n in range(rows)])
    (bar,) = [trace.colorbar for trace in figure.data if trace.type == "heatmap"]
    assert bar.tickvals == ((0, 1) if rows == 1 else None)
