"""Figures of the router: which experts serve when, and which serve listening, seeing and talking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tml_lab.plot.decision import decision_track
from tml_lab.plot.grid import check_rows, grid_track, plot_table
from tml_lab.plot.sound import said_track
from tml_lab.plot.track import Track, at_turn, stack
from tml_lab.stream.recording import Recording
from tml_lab.stream.tokens import STREAM_LABELS

if TYPE_CHECKING:
    import plotly.graph_objects as go


def _of_one_layer(shares: xr.DataArray) -> tuple[xr.DataArray, str]:
    """Without the axis of layers, and ` of layer 3`. Raises ValueError for several layers."""
    if shares.sizes.get("layer", 1) > 1:
        raise ValueError(f"these are shares in {shares.sizes['layer']} layers: choose one, .sel(layer=...).")
    flat = shares.isel(layer=0) if "layer" in shares.dims else shares
    return flat, f" of layer {int(flat['layer'])}" if "layer" in flat.coords else ""


def _rows(
    shares: xr.DataArray | np.ndarray, labels: Sequence[str] | None
) -> tuple[np.ndarray, list[str], list[str], str]:
    """`[experts, columns]`, the names of both, and of which layer. NumPy: `[columns, experts]`."""
    layer = ""
    if isinstance(shares, xr.DataArray):
        flat, layer = _of_one_layer(shares)
        if flat.ndim != 2 or "expert" not in flat.dims:
            raise ValueError(f"shares have the axes (expert, turn), (expert, stream), ...; these have {shares.dims}.")
        flat = flat.transpose("expert", ...)
        labels = [str(name) for name in flat["expert"].values]
        values, columns = flat.values, [str(name) for name in flat[flat.dims[1]].values]
    else:
        values = np.asarray(shares, np.float32).T
        columns = [str(n) for n in range(values.shape[-1])]
    names = list(labels) if labels is not None else [f"E{n}" for n in range(len(values))]
    return check_rows(values, names, "the shares"), names, columns, layer


def routing_track(shares: xr.DataArray | np.ndarray, labels: Sequence[str] | None = None) -> Track:
    """The share of the weight that each expert has over time, one row an expert.

    Args:
        shares: `routing(cache, "turn").sel(layer=3)`, `[expert, turn]`; or plain `[turns, experts]`.
        labels: of the experts, for plain arrays.

    Raises ValueError for an array with other axes, or several layers.
    """
    if isinstance(shares, xr.DataArray) and "turn" not in shares.dims:
        raise ValueError(f"shares over time have an axis turn, routing(cache, 'turn'); these have {shares.dims}.")
    rows, names, _, layer = _rows(shares, labels)
    name, alt = f"experts' shares{layer}", f"Experts' shares{layer}: no turns."
    if rows.size:
        mean, busiest = np.nanmean(rows, 1), int(np.nanmean(rows, 1).argmax())
        swing = int((np.nanmax(rows, 1) - np.nanmin(rows, 1)).argmax())
        most = int(np.nanargmax(rows[swing]))
        alt = (
            f"Experts' shares{layer}: {names[busiest]} has the greatest, {mean[busiest]:.0%} on average; "
            f"{names[swing]} changes most, from {np.nanmin(rows[swing]):.0%} to {rows[swing, most]:.0%} at "
            f"{at_turn(most)}."
        )
    return grid_track(rows, names, name, alt, shown_as=".0%", unit="share")


def plot_routing(
    recording: Recording, shares: xr.DataArray | np.ndarray, labels: Sequence[str] | None = None
) -> go.Figure:
    """The experts' shares over time, with p(speak) and what was said. Raises ValueError as `routing_track`."""
    tracks = [decision_track(recording), routing_track(shares, labels), said_track(recording)]
    return stack(tracks, recording, "Which experts serve when?")


def plot_expert_use(
    shares: xr.DataArray | np.ndarray, groups: Sequence[str] | None = None, labels: Sequence[str] | None = None
) -> go.Figure:
    """Which experts serve listening, seeing, talking, or any other groups, as a table; groups without shares left out.

    Args:
        shares: `routing(cache, "stream").sel(layer=3)`, `[expert, stream]`, or by `"decision"`; or plain
            `[groups, experts]`.
        groups, labels: of the groups and the experts, for plain arrays.

    Raises ValueError for an array with other axes, or several layers.
    """
    rows, names, columns, layer = _rows(shares, labels)
    called = list(groups) if groups is not None else [STREAM_LABELS.get(name, name) for name in columns]
    values = check_rows(rows.T, called, "the shares")
    kept = [n for n, row in enumerate(values) if np.isfinite(row).any()]
    found = [f"{called[n]} most by {names[int(np.nanargmax(values[n]))]} ({np.nanmax(values[n]):.0%})" for n in kept]
    return plot_table(
        values[kept], [called[n].replace("<", "&lt;") for n in kept], names, f"Which experts{layer} serve what?",
        f"Experts' shares{layer} by group: {', '.join(found) or 'none'}.", unit="share", shown_as=".0%",
    )  # fmt: skip
