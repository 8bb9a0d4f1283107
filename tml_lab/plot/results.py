"""One call for each result of the bench whose figure takes plain numbers: nothing to be taken apart by hand.

    plot_dose_response(dose_response(...))      plot_lag_curve(cka_over_lags(...))      plot_inertia(state_inertia(...))
    plot_probes(fit_probes(...))                plot_listening(listening_heads(...))    plot_preserved({"9 parts": ...})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.interp.names import InterpError
from tml_lab.plot.effects import plot_dose, plot_ranking
from tml_lab.plot.grid import plot_heads, plot_table
from tml_lab.plot.lags import plot_aligned, plot_cka
from tml_lab.plot.style import INK, SERIES, SOFT, finish, plain

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tml_lab.interp.ahead import Rise
    from tml_lab.interp.circuit import Preserved
    from tml_lab.interp.inertia import Inertia
    from tml_lab.interp.listening import ListeningHeads
    from tml_lab.interp.probe import Probe
    from tml_lab.interp.similarity import LagCurve
    from tml_lab.interp.steering import DoseResponse


def plot_dose_response(curve: DoseResponse) -> go.Figure:
    """A steering vector's effect where it is meant to act and elsewhere, beside random directions of its length."""
    return plot_dose(
        curve.strengths, {"where it is meant": curve.target, "elsewhere": curve.elsewhere},
        {"where it is meant": curve.random_target, "elsewhere": curve.random_elsewhere},
        name=curve.name or "steering", dose="times the vector", what="share of turns with a wish to speak",
    )  # fmt: skip


def plot_lag_curve(curve: LagCurve, label: str = "its own") -> go.Figure:
    """CKA over lags, beside the same with other episodes."""
    return plot_cka(curve.cka[None], [label], curve.lags, curve.shuffled)


def plot_inertia(found: Inertia) -> go.Figure:
    """The speaking-or-listening reading around interruptions, the own voice, and stretches that nobody breaks into."""
    curves = {"reading, broken in": found.reading, "own voice": found.sounding, "reading, steady": found.steady}
    return plot_aligned(found.lags, curves, "1: as in speaking, 0: as in listening", "the user breaks in", "How long?")


def plot_listening(found: ListeningHeads) -> go.Figure:
    """Each head's listening score, over all episodes."""
    return plot_heads(found.mean, "listening score", "Which heads listen?")


def plot_rises(found: Sequence[Rise], n: int = 12) -> go.Figure:
    """How much more often features fire ahead of speech, with half of their 95 % interval."""
    labels = [f"feature {rise.feature}" for rise in found]
    rise = np.array([each.before - each.otherwise for each in found])
    half = np.array([(each.high - each.low) / 2 for each in found])
    return plot_ranking(labels, rise, half, n=n, what="share of turns ahead of speech less share elsewhere")


def plot_probes(probes: Mapping[int, Probe] | Probe) -> go.Figure:
    """A probe's score layer by layer, with its control task and baselines, and beside it what a push along it does.

    Raises InterpError without probes, or for probes of several labels.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    some = probes if isinstance(probes, Mapping) else {probes.layer: probes}
    layers = sorted(some)
    names = {probe.label for probe in some.values()}
    if len(names) != 1:
        raise InterpError(f"give probes of one label, of one layer or more, not of {len(names)} labels.")
    kinds = [("probe", [some[n].score for n in layers]), ("control task", [some[n].control for n in layers])]
    baselines = sorted(set.intersection(*(set(some[n].baselines) for n in layers)))
    kinds += [(f"from {name}", [some[n].baselines[name] for n in layers]) for name in baselines]
    figure = make_subplots(1, 2, column_widths=[0.66, 0.34], subplot_titles=("score, held out", "pushed by one sd"))
    for n, (name, scores) in enumerate(kinds):
        reach = {
            "array": plain([s.high - s.value for s in scores]), "arrayminus": plain([s.value - s.low for s in scores]),
            "symmetric": False, "thickness": 1,
        }  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=layers, y=plain([s.value for s in scores]), name=name, mode="lines+markers", error_y=reach,
                line={"color": SERIES[n % len(SERIES)], "dash": "solid" if n == 0 else "dot"},
                hovertemplate=f"{name}, layer %{{x}}: %{{y:.2f}}<extra></extra>",
            ), 1, 1,
        )  # fmt: skip
    slopes = [some[n].causal.slope for n in layers]
    random = [float(np.sqrt(np.square(some[n].causal.random_slopes).mean())) for n in layers]
    for name, values, colour in (("its direction", np.abs(slopes), INK), ("random directions", random, SOFT)):
        figure.add_trace(
            go.Bar(
                x=layers, y=plain(values), name=f"push: {name}", marker={"color": colour},
                hovertemplate=f"{name}, layer %{{x}}: %{{y:.2f}} logits<extra></extra>",
            ), 1, 2,
        )  # fmt: skip
    figure.update_xaxes(title="layer", dtick=1).update_layout(showlegend=True)
    figure.update_yaxes(title="logits moved, either way", col=2)
    best = max(layers, key=lambda n: some[n].score.value)
    alt = (
        f"{names.pop()} by layer: best from layer {best}, {some[best].score}, control task "
        f"{some[best].control.value:.2f}; a push along it there moves {abs(some[best].causal.slope):.2f} logits, "
        f"{some[best].causal.times_random:.1f} times a random direction."
    )
    return finish(figure, alt, "Where can it be read, and is it used?", 400)


def plot_preserved(rows: Mapping[str, Preserved]) -> go.Figure:
    """Shares of decisions kept by circuits, by kind of turn, as a table. Raises InterpError without rows."""
    if not rows:
        raise InterpError("there is nothing to draw: give at least one circuit's share of decisions kept.")
    kinds = list(next(iter(rows.values())).kinds)
    values = np.array([[row.overall, row.balanced, *row.kinds.values()] for row in rows.values()])
    told = [f"{name} {row.overall:.2f}, balanced {row.balanced:.2f}" for name, row in rows.items()]
    columns = ["all", "balanced", *kinds]
    alt = f"Shares of decisions kept: {'; '.join(told)}."
    return plot_table(values, list(rows), columns, "Which decisions are kept?", alt, unit="share", least=1.0)
