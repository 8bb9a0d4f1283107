"""Figures of interventions: the dose and the response of steering, and what taking a part away does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.plot.style import SERIES, SILENT_COLOUR, SOFT, SPEAK_COLOUR, finish, listed, plain

if TYPE_CHECKING:
    import plotly.graph_objects as go


def plot_dose(
    strengths: Sequence[float],
    response: np.ndarray,
    random: np.ndarray | None = None,
    *,
    name: str = "steering",
    dose: str = "strength of the push",
    what: str = "change of the logit difference",
) -> go.Figure:
    """Dose and response: `response [strengths]`, and the same for random directions `[random, strengths]` in grey.

    Raises ValueError when they are not as many as the strengths.
    """
    import plotly.graph_objects as go

    order = np.argsort(np.asarray(strengths, float), kind="stable")
    given = [np.asarray(response, float)[None], *([] if random is None else [np.asarray(random, float)])]
    for part in given:
        if part.shape[-1] != len(order):
            raise ValueError(f"there are {part.shape[-1]} responses for {len(order)} strengths.")
    x, lines = plain(np.asarray(strengths, float)[order]), [part[:, order] for part in given]
    figure = go.Figure()
    for n, row in enumerate(lines[1] if len(lines) > 1 else []):
        figure.add_scatter(
            x=x, y=plain(row), mode="lines", line={"color": SILENT_COLOUR, "width": 1}, name="random directions",
            legendgroup="random", showlegend=n == 0, hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=x, y=plain(lines[0][0]), mode="lines+markers", line={"color": SPEAK_COLOUR, "width": 2.5}, name=name,
        hovertemplate=f"{name} at %{{x:+.2g}}: %{{y:.2f}}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title=dose, zeroline=True, zerolinecolor=SOFT)
    figure.update_yaxes(title=what, zeroline=True, zerolinecolor=SOFT)
    figure.update_layout(showlegend=True)
    alt = f"Dose and response of {name}: no strengths."
    if len(order):
        first, last = lines[0][0, [0, -1]]
        alt = f"Dose and response of {name}: {what} goes from {first:.2f} at {x[0]:g} to {last:.2f} at {x[-1]:g}"
        if len(lines) > 1 and lines[1].size:
            ends = lines[1][:, -1]
            alt += f"; {len(ends)} random directions end between {ends.min():.2f} and {ends.max():.2f}"
        alt += "."
    return finish(figure, alt, f"How does it answer to {name}?")


def plot_ranking(
    labels: Sequence[str],
    effects: np.ndarray,
    errors: np.ndarray | None = None,
    *,
    n: int = 20,
    what: str = "change of the logit difference when taken away",
) -> go.Figure:
    """The `n` parts of greatest effect, the greatest on top: orange raises the value, blue lowers it.

    Args:
        effects, errors: float [parts], in the order of the labels.

    Raises ValueError when they are not as many as the labels.
    """
    import plotly.graph_objects as go

    effects = np.asarray(effects, float)
    for part in (effects, *([] if errors is None else [np.asarray(errors)])):
        if part.shape != (len(labels),):
            raise ValueError(f"there are {len(labels)} labels for {list(part.shape)} numbers.")
    order = np.argsort(-np.abs(np.nan_to_num(effects)), kind="stable")[:n]
    bars = go.Bar(
        x=plain(effects[order]), y=[labels[i] for i in order], orientation="h",
        marker={"color": [SPEAK_COLOUR if effects[i] > 0 else SERIES[0] for i in order]},
        error_x=None if errors is None else {"array": plain(np.asarray(errors)[order]), "color": SOFT, "thickness": 1},
        hovertemplate="%{y}: %{x:+.3g}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(bars)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, dtick=1)
    figure.update_xaxes(title=what, zeroline=True, zerolinecolor=SOFT)
    told = [f"{labels[i]} {effects[i]:+.2f}" for i in order]
    alt = f"{what.capitalize()}, the greatest {len(order)} of {len(labels)}: {listed(told, 5) or 'none'}."
    return finish(figure, alt, "Which parts matter most?", 130 + 20 * max(len(order), 3))
