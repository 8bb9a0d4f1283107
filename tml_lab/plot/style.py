"""What all figures share: colours that any eye tells apart, alt text, light and dark, numbers that JSON can hold.

The hues are near Okabe and Ito's (2008); a test looks at them through the eyes of protanopes and deuteranopes. A stream
has one colour in every figure, and orange always leans to speaking, blue to silence.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tml_lab.plot.theme import follow_page

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLOURS = {
    "audio_in": "#0072b2", "text_in": "#aa4488", "video_in": "#009e73",
    "text_out": "#d55e00", "audio_out": "#e0a800",
}  # fmt: skip
SILENT_COLOUR = "#b7bfc7"
SPEAK_COLOUR = COLOURS["text_out"]
INK, SOFT, LINE, PAPER = "#1c1f24", "#5b6470", "#d9dde3", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa4488", "#e0a800", "#56b4e9", "#7a4b2a", "#1c1f24")
"""For what has no colour of its own, in this order; `DASHES` tells further ones apart."""
DASHES = ("solid", "dash", "dot", "dashdot")
AMOUNT = [[0.0, PAPER], [0.5, "#56b4e9"], [1.0, "#0072b2"]]
"""Colour scale of what is never below zero."""
LEANING = [[0.0, "#0072b2"], [0.5, PAPER], [1.0, SPEAK_COLOUR]]
"""Colour scale around zero: blue below (silence), orange above (speech)."""
ON_DARK = {
    "#0072b2": "#56b4e9", "#aa4488": "#e58cc3", "#009e73": "#3cc9a0", "#d55e00": "#ff8a50", "#e0a800": "#ffd75e",
    "#56b4e9": "#2f7fb5", "#7a4b2a": "#c99a7a", SILENT_COLOUR: "#667079", INK: "#eef1f4", SOFT: "#a9b3be",
    LINE: "#3b424b", PAPER: "#15181c",
}  # fmt: skip
"""Each colour on light paper, and what it is on dark."""
DIGITS = 6


def series(n: int) -> tuple[str, str]:
    """Colour and dash of the n-th series."""
    return SERIES[n % len(SERIES)], DASHES[n // len(SERIES) % len(DASHES)]


def plain(values: Any) -> Any:
    """Numbers as nested lists with 6 significant digits; None for what is not finite. Small, and valid JSON."""
    array = np.asarray(values, np.float64)
    if array.ndim:
        return [plain(part) for part in array]
    return float(f"{array:.{DIGITS}g}") if np.isfinite(array) else None


def limit(values: np.ndarray, least: float = 1e-6) -> float:
    """Where a colour scale ends: the greatest size among the finite values."""
    sizes = np.abs(values[np.isfinite(values)])
    return max(float(sizes.max(initial=0.0)), least)


def bar_of_colours(title: str, **where: Any) -> dict[str, Any]:
    """A slim colour bar with its title on top."""
    return {
        "title": {"text": title, "side": "top", "font": {"size": 11}}, "thickness": 10, "outlinewidth": 0,
        "tickfont": {"size": 10}, "ticklabelposition": "outside bottom", **where,  # else the first one meets the title
    }  # fmt: skip


def finish(figure: go.Figure, alt: str, title: str | None = None, height: int = 380) -> go.Figure:
    """Give a figure the house's looks and its alt text; dark where plotly's default template or the page about it is.

    The alt text lies in `figure.layout.meta["description"]`.
    """
    import plotly.io as pio

    follow_page()
    ink = {"color": INK, "size": 12}
    if figure.layout.margin.t is None:
        figure.update_layout(margin={"l": 60, "r": 24, "t": 60 if title else 28, "b": 52})
    figure.update_layout(
        template="plotly_white", paper_bgcolor=PAPER, plot_bgcolor=PAPER, font=ink, height=height,
        colorway=figure.layout.colorway or SERIES, meta={"description": alt},
        hoverlabel={"align": "left", "bgcolor": PAPER, "bordercolor": LINE, "font": ink},
    )  # fmt: skip
    figure.update_xaxes(gridcolor=LINE, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=LINE, zeroline=False, automargin=True)
    if title:
        heading = {"text": html.escape(title), "x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 15}}
        heading |= {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14}}
        figure.update_layout(title=heading)
    return in_dark(figure) if "dark" in str(pio.templates.default) else figure


def in_dark(figure: go.Figure) -> go.Figure:
    """The same figure for a dark page; the one given stays as it is."""
    import plotly.graph_objects as go

    parts = figure.to_plotly_json()
    parts["layout"].pop("template", None)
    dark = go.Figure(_darkened(parts))
    return dark.update_layout(template="plotly_dark")


def _darkened(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _darkened(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_darkened(inner) for inner in part]
    return ON_DARK.get(part.lower(), part) if isinstance(part, str) and part.startswith("#") else part


def alt_of(figure: go.Figure) -> str:
    """What a figure shows, in words."""
    return str((figure.layout.meta or {}).get("description", ""))


def to_json(figure: go.Figure) -> str:
    """A figure as strict JSON. Raises ValueError for a number that JSON cannot hold."""
    return json.dumps(json.loads(figure.to_json() or "{}"), allow_nan=False, separators=(",", ":"))


def to_html(figure: go.Figure, offline: bool = False, script: str = "") -> str:
    """A page with one figure, and its alt text for screen readers.

    Args:
        offline: put plotly.js (some 5 MB) inside, so that the page needs no network.
        script: JavaScript to run once it is drawn; `{plot_id}` stands for the element's id.
    """
    inner = figure.to_html(
        include_plotlyjs=True if offline else "cdn", full_html=False, post_script=script or None,
        config={"displaylogo": False, "responsive": True},
    )  # fmt: skip
    title = figure.layout.title.text or "figure"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<title>{title}</title></head>\n<body style="margin:0;background:{figure.layout.paper_bgcolor or PAPER}">'
        f'<div role="figure" aria-label="{html.escape(alt_of(figure))}">{inner}</div></body></html>\n'
    )


def listed(words: Sequence[str], most: int = 6) -> str:
    """`a, b and c`, or the first few and how many more."""
    words = list(words)
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
