"""The figure of one head's attention pattern around a decision, with words, streams and seconds on its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tml_lab.plot.style import AMOUNT, COLOURS, bar_of_colours, finish, limit, plain
from tml_lab.stream.clock import heard_start
from tml_lab.stream.tokens import STREAM_LABELS, STREAMS, TokenTable

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_KEYS = 1500  # that are drawn
MOST_HOVERS = 4000  # cells that say in words what they are
STRIPE = 0.07  # of the height, for the streams of the keys


def plot_pattern(pattern: xr.DataArray, tokens: TokenTable) -> go.Figure:
    """One head's pattern, `cache.at("pattern", layer=3, head=2, t=4.2, ...)`'s `[query, key]`, with words on its axes.

    Args:
        tokens: `cache.tokens`, for the labels. Keys stand in their order; under them, their streams and seconds.

    Raises ValueError for more than one head, or more keys than can be drawn.
    """
    import plotly.graph_objects as go

    if pattern.dims != ("query", "key"):
        raise ValueError(f"a pattern has the axes (query, key), this has {pattern.dims}: choose one head, head=....")
    rows, keys = (np.asarray(pattern[axis].values, int) for axis in ("query", "key"))
    if len(keys) > MOST_KEYS:
        raise ValueError(f"{len(keys)} keys are more than can be drawn, {MOST_KEYS}: choose fewer, src_t=slice(...).")
    of_keys, of_rows = _spoken(tokens, keys), _spoken(tokens, rows)
    figure = go.Figure([_heat(pattern.values, of_rows, of_keys), _stripe(tokens, keys)])
    for stream in [STREAMS[code] for code in sorted(set(tokens.stream[keys].tolist()))]:
        marker = {"symbol": "square", "size": 10, "color": COLOURS[stream]}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=STREAM_LABELS[stream])
    _label_axes(figure, tokens, keys, of_rows)
    name = str(pattern.name or "pattern of a head")
    alt = f"Attention, {name}: no weights."
    if pattern.size:
        i, j = np.unravel_index(int(pattern.values.argmax()), pattern.shape)
        most = f"{of_rows[i]} looks at {of_keys[j]}, {float(pattern.values[i, j]):.0%}"
        alt = f"Attention, {name}. Strongest: {most}.".replace("&lt;", "<")
    return finish(figure, alt, name, 270 + 16 * min(len(rows), 20))


def _heat(weights: np.ndarray, of_rows: list[str], of_keys: list[str]) -> dict[str, Any]:
    said = weights.size <= MOST_HOVERS
    where = "%{y} looks at %{customdata}" if said else "%{y} looks at key %{x}"
    return {
        "type": "heatmap", "z": plain(weights), "y": of_rows, "customdata": [of_keys] * len(of_rows) if said else None,
        "colorscale": AMOUNT, "zmin": 0, "zmax": limit(weights), "hovertemplate": where + ": %{z:.1%}<extra></extra>",
        "colorbar": {**bar_of_colours("weight"), "tickformat": ".0%"},
    }  # fmt: skip


def _stripe(tokens: TokenTable, keys: np.ndarray) -> dict[str, Any]:
    """The stream of each key, as a strip of colours."""
    n = len(STREAMS)
    flat = [[edge, COLOURS[stream]] for i, stream in enumerate(STREAMS) for edge in (i / n, (i + 1) / n)]
    return {
        "type": "heatmap", "z": [[code + 0.5 for code in tokens.stream[keys].tolist()]], "colorscale": flat, "zmin": 0,
        "zmax": n, "y": ["stream"], "showscale": False, "hoverinfo": "skip", "yaxis": "y2",
    }  # fmt: skip


def _label_axes(figure: go.Figure, tokens: TokenTable, keys: np.ndarray, of_rows: list[str]) -> None:
    """Seconds where a turn's keys begin, words where a query stands; not more than can be read."""
    first = np.flatnonzero(np.diff(tokens.turn[keys], prepend=-1))  # the first key of each turn
    first = first[:: max(1, -(-len(first) // 14))]
    figure.update_xaxes(
        title="what is looked at, in the order it came; seconds at which its turn begins", showgrid=False,
        range=[-0.5, max(len(keys), 1) - 0.5], tickvals=(first - 0.5).tolist(), anchor="y2", ticks="outside",
        ticktext=[f"{heard_start(int(turn)):.1f}" for turn in tokens.turn[keys[first]]],
    )  # fmt: skip
    ticks = list(range(0, len(of_rows), max(1, -(-len(of_rows) // 16))))
    figure.update_layout(
        yaxis={
            "title": "who looks", "domain": [STRIPE * 1.6, 1], "range": [len(of_rows) - 0.5, -0.5], "showgrid": False,
            "tickvals": ticks, "ticktext": [of_rows[i] for i in ticks], "type": "category",
        },
        yaxis2={"domain": [0, STRIPE], "showticklabels": False, "showgrid": False, "anchor": "x"},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )  # fmt: skip


def _spoken(tokens: TokenTable, positions: np.ndarray) -> list[str]:
    """`2.60 s heard 3/4` for each position."""
    found = [tokens[int(n)] for n in positions]
    named = [t.label if t.token_id is None else f"{STREAM_LABELS[t.stream]} {t.label}" for t in found]
    return [f"{t.start:.2f} s {label}".replace("<", "&lt;") for t, label in zip(found, named, strict=True)]
