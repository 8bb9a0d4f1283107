"""Figures of what lies inside: probes by layer, dose-response curves, likeness over lags, readings around an event.

Plain arrays go in, plotly figures come out; `layout.meta` holds the alt text. Colours are Okabe and Ito's. What is
measured is blue, its control grey, what it breaks orange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SECONDS

if TYPE_CHECKING:
    import plotly.graph_objects as go

MEASURED, BROKEN, CONTROL, ALONE = "#0072b2", "#d55e00", "#8a949e", "#009e73"


def _figure(traces: list, title: str, x: str, y: str, alt: str) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure(traces)
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, height=340, template="plotly_white")
    figure.update_layout(meta={"description": alt})
    return figure


def score_bars(
    scores: Mapping[str, tuple[float, float, float]], baselines: int, chance: float, unit: str, title: str
) -> go.Figure:
    """Scores with their intervals, the baselines first and in grey.

    Args:
        scores: {name: (value, low, high)}, in the order of the bars. baselines: how many of the first are baselines.
        chance: a dotted line at what guessing gives. unit: what a score is.
    """
    import plotly.graph_objects as go

    value, low, high = np.array(list(scores.values()), float).T  # [bars] each
    bars = go.Bar(
        x=list(scores), y=value, marker_color=[CONTROL] * baselines + [MEASURED] * (len(scores) - baselines),
        error_y={"array": high - value, "arrayminus": value - low},
    )  # fmt: skip
    best = max(scores, key=lambda name: scores[name][0])
    alt = f"Bars of {unit}: " + ", ".join(f"{n} {v[0]:.2f}" for n, v in scores.items()) + f"; {best} is the highest."
    figure = _figure([bars], title, "", unit, alt)
    figure.add_hline(y=chance, line_dash="dot", annotation_text="chance")
    return figure


def dose_curves(
    strengths: Sequence[float], target: np.ndarray, elsewhere: np.ndarray, random: np.ndarray, title: str
) -> go.Figure:
    """Shares of turns that speak by strength: where it is meant, where it breaks silence, and random directions.

    Args:
        target, elsewhere: [strengths]. random: [random, strengths], the target's share under random directions.
    """
    import plotly.graph_objects as go

    traces = [
        go.Scatter(x=list(strengths), y=row, line={"color": CONTROL, "dash": "dot"}, name="random direction",
                   showlegend=not i) for i, row in enumerate(random)
    ]  # fmt: skip
    traces += [
        go.Scatter(x=list(strengths), y=target, line={"color": MEASURED}, name="where it is meant"),
        go.Scatter(x=list(strengths), y=elsewhere, line={"color": BROKEN}, name="false starts"),
    ]
    alt = (
        f"Three kinds of curves over the strength, from {strengths[0]:g} to {strengths[-1]:g}: where it is meant the "
        f"share goes from {target[0]:.2f} to {target[-1]:.2f}, false starts from {elsewhere[0]:.2f} to "
        f"{elsewhere[-1]:.2f}, random directions end at {random[:, -1].mean():.2f} on average."
    )
    return _figure(traces, title, "strength", "share of turns that speak", alt).update_yaxes(range=[-0.03, 1.03])


def lag_curve(lags: Sequence[int], likeness: np.ndarray, shuffled: np.ndarray, title: str) -> go.Figure:
    """Likeness (CKA) over lags in seconds, with the shuffled curves. `likeness [lags]`, `shuffled [shuffles, lags]`."""
    import plotly.graph_objects as go

    seconds = TURN_SECONDS * np.array(lags)
    traces = [
        go.Scatter(x=seconds, y=row, line={"color": CONTROL, "dash": "dot"}, name="another episode", showlegend=not i)
        for i, row in enumerate(shuffled)
    ]
    traces.append(go.Scatter(x=seconds, y=likeness, line={"color": MEASURED}, name="the same episode"))
    peak = int(np.argmax(likeness))
    alt = (
        f"A curve of likeness over the lag, highest ({likeness[peak]:.2f}) at {seconds[peak]:.1f} s; with another "
        f"episode in its place it stays below {shuffled.max():.2f}."
    )
    return _figure(traces, title, "seconds by which the second is later", "CKA", alt)


def around_event(
    lags: Sequence[int], rows: np.ndarray, control: np.ndarray | None, event: str, reading: str, title: str
) -> go.Figure:
    """Readings aligned at an event: each row thin, their median thick, the control's median beside them.

    Args:
        rows: [events, lags], NaN where there is nothing. control: [stretches, lags] or None.
        event, reading: what happens at lag 0, and what is read.
    """
    import plotly.graph_objects as go

    seconds = TURN_SECONDS * np.array(lags)
    traces = [
        go.Scatter(x=seconds, y=row, line={"color": MEASURED, "width": 0.5}, opacity=0.4, showlegend=False)
        for row in rows
    ]
    middle = np.nanmedian(rows, 0)
    traces.append(go.Scatter(x=seconds, y=middle, line={"color": MEASURED, "width": 3}, name="median"))
    alt = f"The {reading} around {event}: its median goes from {middle[0]:.2f} to {middle[-1]:.2f}"
    if control is not None and len(control):
        beside = np.nanmedian(control, 0)
        traces.append(go.Scatter(x=seconds, y=beside, line={"color": ALONE, "dash": "dash"}, name="nothing happens"))
        alt += f"; where nothing happens it ends at {beside[-1]:.2f}"
    figure = _figure(traces, title, f"seconds from {event}", reading, alt + ".")
    figure.add_vline(x=0, line_dash="dot")
    return figure


def feature_timelines(activations: np.ndarray, names: Sequence[str], onset: np.ndarray, title: str) -> go.Figure:
    """Features over the turns as rows of a heat map, with a line wherever the model begins to speak.

    Args:
        activations: [turns, features], the columns to show. names: of the features. onset: bool [turns].
    """
    import plotly.graph_objects as go

    seconds = TURN_SECONDS * (np.arange(len(activations)) + 1)  # a decision is made at its turn's end
    heat = go.Heatmap(x=seconds, y=list(names), z=activations.T, colorscale="Blues", colorbar_title="activation")
    at = seconds[onset]
    loudest = names[int(activations.sum(0).argmax())]
    alt = (
        f"{len(names)} features over {seconds[-1]:.1f} s; the model begins to speak "
        + (f"at {', '.join(f'{t:.1f}' for t in at)} s" if len(at) else "nowhere")
        + f"; {loudest} fires most."
    )
    figure = _figure([heat], title, "seconds, heard", "", alt)
    for t in at:
        figure.add_vline(x=float(t), line_color=BROKEN)
    return figure
