"""Heat maps of turns: rows of anything over the common time axis; and of plain tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tml_lab.config import TURN_SECONDS
from tml_lab.plot.contrast import inks_on
from tml_lab.plot.style import AMOUNT, LEANING, bar_of_colours, finish, limit, plain
from tml_lab.plot.track import Track, at_turn, middles

if TYPE_CHECKING:
    import plotly.graph_objects as go


def colours(values: np.ndarray, around_zero: bool) -> dict[str, Any]:
    """The colour scale of a heat map and its ends."""
    most = limit(values)
    return {"colorscale": LEANING if around_zero else AMOUNT, "zmin": -most if around_zero else 0, "zmax": most}


def check_rows(values: np.ndarray, labels: Sequence[str], what: str) -> np.ndarray:
    """`[rows, turns]`. Raises ValueError when the labels are not as many as the rows."""
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(f"{what} should be [{len(labels)} rows, turns] as there are {len(labels)} labels, "
                         f"not {list(values.shape)}.")  # fmt: skip
    return values


def grid_track(
    values: np.ndarray,
    labels: Sequence[str],
    name: str,
    alt: str,
    *,
    around_zero: bool = False,
    shown_as: str = ".2f",
    unit: str = "",
    first: int = 0,
    upwards: bool = False,
    whole: bool = True,
) -> Track:
    """`values [rows, turns]`, from turn `first` on, as a heat map.

    Args:
        upwards: the first row at the bottom, as layers are counted, not on top.
        shown_as: format of a value in the hover; `unit` stands over the colour bar.
        whole: whether the turns are all that the recording has.
    """
    values = check_rows(values, labels, name)
    heat = {
        "type": "heatmap", "z": plain(values), "x0": middles([first])[0], "dx": TURN_SECONDS, "y": list(labels),
        "name": name, "hovertemplate": f"%{{y}}: %{{z:{shown_as}}}<extra></extra>",
        "colorbar": {**bar_of_colours(unit), **({"tickformat": shown_as} if "%" in shown_as else {})},
        **colours(values, around_zero),
    }  # fmt: skip
    low, high = (-0.5, len(labels) - 0.5) if upwards else (len(labels) - 0.5, -0.5)
    axis = {"type": "category", "range": [low, high], "showgrid": False, "dtick": 1}
    return Track(name, (heat,), alt, axis, 0.4 + 0.18 * len(labels), first + values.shape[1], whole)


def parts_track(values: xr.DataArray, n: int = 12, name: str = "by part", shown_as: str = "+.2f") -> Track:
    """Parts over turns: `[part, patched]` of a sweep over parts, `[sender, turn]` of paths; the `n` greatest rows.

    The first axis names the parts; the greatest row stands on top.

    Raises ValueError for an array with other axes.
    """
    if values.ndim != 2 or values.dims[1] not in ("turn", "patched"):
        raise ValueError(f"parts over turns have the axes (part, turn), these have {values.dims}.")
    turns = np.asarray(values[values.dims[1]].values, int)
    first, end = (int(turns.min()), int(turns.max()) + 1) if len(turns) else (0, 0)
    grid = np.full((len(values), end - first), np.nan, np.float32)  # nan: a turn that was not looked at
    grid[:, turns - first] = values.values
    sizes = np.nan_to_num(np.abs(grid)).max(1, initial=0.0)
    rows = np.argsort(-sizes, kind="stable")[:n]
    labels = [str(values[values.dims[0]].values[i]) for i in rows]
    alt = f"{name}: nothing."
    if sizes.any():
        best = int(np.nan_to_num(np.abs(grid[rows[0]])).argmax())
        alt = f"{name}: greatest is {labels[0]} at {at_turn(first + best)}, {grid[rows[0], best]:{shown_as}}."
    return grid_track(grid[rows], labels, name, alt, around_zero=True, shown_as=shown_as, first=first, whole=False)


def _number(value: float, shown_as: str) -> str:
    """A number as text; one that rounds to zero has no sign."""
    text = format(value, shown_as)
    return text.lstrip("-") if not text.strip("-0.%") else text


def plot_table(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    alt: str,
    *,
    unit: str = "",
    shown_as: str = ".2f",
    least: float = 0.0,
    around_zero: bool = False,
    upwards: bool = False,
) -> go.Figure:
    """`values [rows, columns]` as a table of coloured cells with their numbers in them.

    Args:
        unit: stands over the colour bar; `shown_as`: format of a number, as Python and d3 have it.
        least: the colour scale reaches so far at least.
        upwards: the first row at the bottom, as layers are counted.

    Raises ValueError when labels and values are not as many.
    """
    import plotly.graph_objects as go

    values = check_rows(values, rows, "the table")
    if values.shape[1] != len(columns):
        raise ValueError(f"there are {len(columns)} labels for {values.shape[1]} columns.")
    scale = colours(np.append(values.ravel(), least), around_zero)
    heat = go.Heatmap(
        z=plain(values), x=list(columns), y=list(rows), xgap=2, ygap=2, **scale,
        colorbar={**bar_of_colours(unit), "tickformat": shown_as},
        hovertemplate=f"%{{y}} %{{x}}: %{{z:{shown_as}}}<extra></extra>",
    )  # fmt: skip
    share = (values.ravel() - scale["zmin"]) / (scale["zmax"] - scale["zmin"])
    numbers = go.Scatter(  # not the heat map's own text: that is one grey on all but the darkest cells, hard to read
        x=[column for _ in rows for column in columns], y=[row for row in rows for _ in columns], mode="text",
        text=["" if np.isnan(value) else _number(value, shown_as) for value in values.ravel().tolist()],
        textfont={"color": inks_on(share, scale["colorscale"])}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    figure = go.Figure([heat, numbers]).update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False, autorange=True if upwards else "reversed")
    return finish(figure, alt, title, 120 + 42 * max(len(rows), 3))


def plot_heads(values: np.ndarray, what: str, title: str = "Which heads?") -> go.Figure:
    """One number for each head, `[layers, heads]`, such as listening scores; `what` they are stands over the colours.

    Raises ValueError for values with other axes.
    """
    values = np.asarray(values, np.float32)
    if values.ndim != 2:
        raise ValueError(f"numbers of heads are [layers, heads], these are {list(values.shape)}.")
    layers, heads = ([f"{mark}{n}" for n in range(size)] for mark, size in zip("LH", values.shape, strict=True))
    order = np.argsort(-np.abs(np.nan_to_num(values)), axis=None, kind="stable")[:3]
    best = ["L{}H{} {:.2f}".format(*np.unravel_index(i, values.shape), values.flat[i]) for i in order]
    alt = f"{what.capitalize()} of {values.size} heads; greatest are {', '.join(best) or 'none'}."
    return plot_table(values, layers, heads, title, alt, unit=what, around_zero=bool((values < 0).any()), upwards=True)
