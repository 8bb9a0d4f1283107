"""Figures of interventions: the dose and the response of steering, and what taking a part away does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tml_lab.plot.style import SERIES, SOFT, SPEAK_COLOUR, finish, listed, plain

if TYPE_CHECKING:
    import plotly.graph_objects as go


WORDS = {
    "change": "change of the logit difference when taken away",
    "moved": "mean size of the change when taken away",
    "flipped": "share of turns decided otherwise when taken away",
}
Curves = np.ndarray | Mapping[str, np.ndarray]


def plot_dose(
    strengths: Sequence[float],
    response: Curves,
    random: Curves | None = None,
    *,
    name: str = "steering",
    dose: str = "strength of the push",
    what: str = "change of the logit difference",
    thin: str = "random",
) -> go.Figure:
    """Dose and response, and what random directions of the same length do, thin and of the same colour.

    Args:
        response: `[strengths]`, or several by name: where it is meant to act, elsewhere.
        random: `[random, strengths]`, or several by the same names.
        thin: what the thin curves are, for the legend.

    Raises ValueError when they are not as many as the strengths.
    """
    import plotly.graph_objects as go

    order = np.argsort(np.asarray(strengths, float), kind="stable")
    x = plain(np.asarray(strengths, float)[order])
    curves = response if isinstance(response, Mapping) else {name: response}
    rivals = random if isinstance(random, Mapping) else {} if random is None else {name: random}
    figure, told = go.Figure(), []
    for n, (label, curve) in enumerate(curves.items()):
        colour = (SPEAK_COLOUR, *SERIES)[n]
        mine = _ordered(curve, order)
        others = _ordered(rivals[label], order) if label in rivals else np.zeros((0, len(order)))
        for n_random, row in enumerate(others):
            figure.add_scatter(
                x=x, y=plain(row), mode="lines", line={"color": colour, "width": 1.5, "dash": "dot"}, opacity=0.8,
                name=f"{thin}: {label}", legendgroup=label, showlegend=n_random == 0, hoverinfo="skip",
            )  # fmt: skip
        figure.add_scatter(
            x=x, y=plain(mine), mode="lines+markers", line={"color": colour, "width": 2.5}, name=label,
            hovertemplate=f"{label} at %{{x:+.2g}}: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
        told += [_goes(label, x, mine, others, thin)] if len(order) else []
    figure.update_xaxes(title=dose, zeroline=True, zerolinecolor=SOFT)
    figure.update_yaxes(title=what, zeroline=True, zerolinecolor=SOFT)
    figure.update_layout(showlegend=True)
    alt = f"Dose and response, {what}: {'; '.join(told) or 'no strengths'}."
    return finish(figure, alt, f"How does it answer to {name}?")


def _ordered(curve: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`[..., strengths]` by rising strength."""
    values = np.asarray(curve, float)
    if values.shape[-1] != len(order):
        raise ValueError(f"there are {values.shape[-1]} responses for {len(order)} strengths.")
    return values[..., order]


def _goes(label: str, x: Sequence[float], mine: np.ndarray, others: np.ndarray, thin: str) -> str:
    text = f"{label} goes from {mine[0]:.2f} at {x[0]:g} to {mine[-1]:.2f} at {x[-1]:g}"
    if len(others):
        text += f", {len(others)} {thin} directions end between {others[:, -1].min():.2f} and {others[:, -1].max():.2f}"
    return text


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


def plot_ablation(table: xr.Dataset, kind: str, what: str = "change", n: int = 20) -> go.Figure:
    """What `ablate` found for one kind of turn: the `n` parts that matter most for it.

    Args:
        table: over `part` and `kind`.
        what: `change` of `<speak>` less `<silent>`, `moved`, its mean size, or `flipped`, the share decided otherwise.

    Raises ValueError for a kind or number that is not in it.
    """
    kinds = [str(name) for name in table["kind"].values]
    if kind not in kinds or what not in WORDS:
        choice = f"{listed(list(WORDS))}; {listed(kinds)}"
        raise ValueError(f"{what!r} in turns of kind {kind!r} is not there: choose {choice}.")
    labels = [str(part) for part in table["part"].values]
    return plot_ranking(labels, table[what].sel(kind=kind).values, n=n, what=f"{WORDS[what]}, turns: {kind}")
