"""Figures of the router: which experts serve when, and which serve listening, seeing and talking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tml_lab.plot.decision import decision_track
from tml_lab.plot.grid import check_rows, colours, grid_track
from tml_lab.plot.sound import said_track
from tml_lab.plot.style import bar_of_colours, finish, plain
from tml_lab.plot.track import Track, at_turn, stack
from tml_lab.stream.recording import Recording

if TYPE_CHECKING:
    import plotly.graph_objects as go


def _table(shares: xr.DataArray | np.ndarray, labels: Sequence[str] | None) -> tuple[np.ndarray, list[str]]:
    """`[turns, experts]` and the experts' names."""
    values = np.asarray(shares, np.float32)
    if labels is None and isinstance(shares, xr.DataArray) and shares.dims[-1] in shares.coords:
        labels = [str(name) for name in shares[shares.dims[-1]].values]
    names = [f"E{name}" if str(name).isdigit() else str(name) for name in labels or range(values.shape[-1])]
    return values, names


def routing_track(
    shares: xr.DataArray | np.ndarray, labels: Sequence[str] | None = None, name: str = "router: experts' shares"
) -> Track:
    """`shares [turns, experts]` over time: the weight that each expert was given, one row an expert.

    Raises ValueError for an array with other axes.
    """
    values, names = _table(shares, labels)
    rows = check_rows(values.T, names, "the router's shares, turned,")
    alt = f"{name}: no turns."
    if rows.size:
        mean, busiest = rows.mean(1), int(rows.mean(1).argmax())
        swing = int((rows.max(1) - rows.min(1)).argmax())
        alt = (
            f"{name}: {names[busiest]} has the greatest share, {mean[busiest]:.0%} on average; {names[swing]} changes "
            f"most, from {rows[swing].min():.0%} to {rows[swing].max():.0%} at {at_turn(int(rows[swing].argmax()))}."
        )
    return grid_track(rows, names, name, alt, shown_as=".0%", unit="share")


def plot_routing(
    recording: Recording, shares: xr.DataArray | np.ndarray, labels: Sequence[str] | None = None
) -> go.Figure:
    """The router's shares over time, with p(speak) and what was said. Raises ValueError as `routing_track`."""
    tracks = [decision_track(recording), routing_track(shares, labels), said_track(recording)]
    return stack(tracks, recording, "Which experts serve when?")


def plot_expert_use(
    shares: xr.DataArray | np.ndarray, groups: Sequence[str] | None = None, labels: Sequence[str] | None = None
) -> go.Figure:
    """`shares [groups, experts]`: which experts serve listening, seeing, talking, or any other groups, as a table.

    Raises ValueError for an array with other axes.
    """
    import plotly.graph_objects as go

    values, names = _table(shares, labels)
    if groups is None:
        groups = [str(g) for g in shares[shares.dims[0]].values] if isinstance(shares, xr.DataArray) else None
    groups = list(groups or map(str, range(len(values))))
    values = check_rows(values, groups, "the shares")
    heat = go.Heatmap(
        z=plain(values), x=names, y=groups, xgap=2, ygap=2, texttemplate="%{z:.0%}", **colours(values, False),
        colorbar={**bar_of_colours("share"), "tickformat": ".0%"}, hovertemplate="%{y}: %{x} %{z:.0%}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heat).update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    found = [
        f"{group} most by {names[int(row.argmax())]} ({row.max():.0%})"
        for group, row in zip(groups, values, strict=True)
        if row.size
    ]
    alt = f"Experts' shares by group: {', '.join(found) or 'none'}."
    return finish(figure, alt, "Which experts serve what?", 150 + 44 * max(len(groups), 2))
