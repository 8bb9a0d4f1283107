"""Figures over lags: CKA of one turn with another, and readings aligned at an event, such as an interruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.plot.grid import check_rows
from tml_lab.plot.style import SOFT, finish, listed, plain, series

if TYPE_CHECKING:
    import plotly.graph_objects as go


def plot_cka(
    similarity: np.ndarray, labels: Sequence[str], lags: Sequence[int] | None = None,
    shuffled: np.ndarray | None = None, title: str = "How alike is its inside to what it was?",
) -> go.Figure:  # fmt: skip
    """`similarity [rows, lags]`, 0 to 1: how alike the inside is to itself, or to another part, so many turns apart.

    Args:
        lags: in turns; 0, 1, ... by default.
        shuffled: `[shuffles, lags]`, the same with other episodes in place of its own, in grey.

    Raises ValueError when labels or lags are not as many as the rows or columns.
    """
    import plotly.graph_objects as go

    rows = check_rows(similarity, labels, "the similarity")
    turns = _lags(lags, rows)
    control = np.zeros((0, len(turns))) if shuffled is None else np.asarray(shuffled)
    _lags(turns, control)
    figure, x = go.Figure(), plain(turns * TURN_SECONDS)
    for n, row in enumerate(control):
        figure.add_scatter(
            x=x, y=plain(row), mode="lines", line={"color": SOFT, "width": 1, "dash": "dot"}, name="other episodes",
            legendgroup="shuffled", showlegend=n == 0, hoverinfo="skip",
        )  # fmt: skip
    for n, (label, row) in enumerate(zip(labels, rows, strict=True)):
        colour, dash = series(n)
        figure.add_scatter(
            x=x, y=plain(row), name=label, mode="lines+markers", marker={"size": 5},
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{label}, %{{x:.1f}} s apart: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="lag, seconds", zeroline=True, zerolinecolor=SOFT)
    figure.update_yaxes(title="CKA", range=[0, 1.03])
    figure.update_layout(showlegend=True)
    told = [
        f"{label} is most alike at {turns[row.argmax()] * TURN_SECONDS:.1f} s ({row.max():.2f}) and least at "
        f"{turns[row.argmin()] * TURN_SECONDS:.1f} s ({row.min():.2f})"
        for label, row in zip(labels, rows, strict=True)
        if row.size
    ]
    least = f"; with other episodes at most {control.max():.2f}" if control.size else ""
    alt = f"CKA by lag: {listed(told, 4) or 'nothing'}{least}."
    return finish(figure, alt, title)


def plot_aligned(
    lags: Sequence[int], curves: Mapping[str, np.ndarray], what: str, event: str, title: str | None = None
) -> go.Figure:
    """Readings around an event, each curve the mean of its rows with the standard error of that mean.

    Args:
        lags: turns from the event.
        curves: {name: `[rows, lags]`}, NaN where a row has nothing there.
        what: is read; `event`: stands at 0, `the user breaks in`.

    Raises ValueError when the columns are not as many as the lags.
    """
    import plotly.graph_objects as go

    figure, told = go.Figure(), []
    for n, (name, values) in enumerate(curves.items()):
        rows = np.asarray(values, float)
        turns = _lags(lags, rows)
        there = np.isfinite(rows)
        count = np.maximum(there.sum(0), 1)
        mean = np.where(there.any(0), np.where(there, rows, 0).sum(0) / count, np.nan)
        spread = np.sqrt(np.where(there, (rows - mean) ** 2, 0).sum(0) / np.maximum(count - 1, 1) / count)
        colour, dash = series(n)
        figure.add_scatter(
            x=plain(turns * TURN_SECONDS), y=plain(mean), mode="lines+markers", name=f"{name} ({len(rows)})",
            line={"color": colour, "dash": dash, "width": 2}, marker={"size": 5},
            error_y={"array": plain(spread), "thickness": 1, "width": 2, "color": colour},
            hovertemplate=f"{name}, %{{x:+.1f}} s: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
        if np.isfinite(mean).any():
            low, high = int(np.nanargmin(mean)), int(np.nanargmax(mean))
            told.append(
                f"{name} is highest at {turns[high] * TURN_SECONDS:+.1f} s ({mean[high]:.2f}) and lowest at "
                f"{turns[low] * TURN_SECONDS:+.1f} s ({mean[low]:.2f})"
            )
    figure.add_shape(type="line", x0=0, x1=0, yref="paper", y0=0, y1=1, line={"color": SOFT, "dash": "dot", "width": 1})
    figure.add_annotation(text=event, x=0, y=1, yref="paper", yanchor="bottom", showarrow=False, font={"color": SOFT})
    figure.update_xaxes(title=f"seconds from where {event}").update_yaxes(title=what)
    figure.update_layout(showlegend=True)
    return finish(figure, f"{what.capitalize()} around where {event}: {'; '.join(told) or 'nothing'}.", title)


def _lags(lags: Sequence[int] | np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    turns = np.arange(rows.shape[-1]) if lags is None else np.asarray(lags)
    if rows.ndim != 2 or len(turns) != rows.shape[1]:
        raise ValueError(f"there are {len(turns)} lags for values of shape {list(rows.shape)}.")
    return turns
