"""Figures of direct logit attribution: what added to the decision, over time and in one turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.interp.attribution import Attribution
from tml_lab.plot.decision import decision_track
from tml_lab.plot.sound import said_track
from tml_lab.plot.style import INK, SERIES, SILENT_COLOUR, SOFT, SPEAK_COLOUR, finish, plain
from tml_lab.plot.track import Track, at_turn, middles, reader, stack, step_line
from tml_lab.stream.recording import Recording

if TYPE_CHECKING:
    import plotly.graph_objects as go


def attribution_track(attribution: Attribution, n: int = 6) -> Track:
    """The `n` components that move most, as bars on one another, the others together in grey, their sum as a line.

    What adds to speech stands above zero, what adds to silence below.
    """
    values = attribution.values  # [components, turns]
    mean = values.sum(1, keepdims=True) / max(values.shape[1], 1)
    sizes = np.abs(values - mean).sum(1)  # how much each moves over time
    largest = np.argsort(-sizes, kind="stable")[: min(n, len(SERIES) - 1)]
    others = values.sum(0) - values[largest].sum(0)
    rows = [(attribution.labels[i], values[i], SERIES[k]) for k, i in enumerate(largest)]
    rows.append((f"other {len(values) - len(largest)}", others, SILENT_COLOUR))
    x = middles(values.shape[1])
    bars: list[dict[str, Any]] = [
        {
            "type": "bar", "x": x, "y": plain(row), "name": label, "width": TURN_SECONDS,
            "marker": {"color": colour, "line": {"width": 0}}, "hoverinfo": "none",
        }
        for label, row, colour in rows
    ]  # fmt: skip
    total = {**step_line(attribution.logit_difference, "sum of all", INK), "hoverinfo": "none", "hovertemplate": None}
    notes = [
        f"adds up to {whole:+.1f}: " + ", ".join(f"{label} {value:+.1f}" for label, value in attribution.top(turn, 3))
        for turn, whole in enumerate(attribution.logit_difference)
    ]
    axis = {"zeroline": True, "zerolinecolor": SOFT, "zerolinewidth": 1}
    traces = (*bars, total, reader(x, notes))
    return Track("what adds to &lt;speak> less &lt;silent>", traces, _adds(attribution), axis, 2.2, values.shape[1])


def _adds(attribution: Attribution) -> str:
    """What weighs most at the turn that most wants to speak."""
    if not attribution.values.size:
        return "There are no turns to attribute."
    turn = int(attribution.logit_difference.argmax())
    parts = ", ".join(f"{label} {value:+.1f}" for label, value in attribution.top(turn, 3))
    most = attribution.logit_difference[turn]
    return f"At {at_turn(turn)}, where it most wants to speak ({most:+.1f}), most weigh {parts}."


def plot_attribution(recording: Recording, attribution: Attribution, n: int = 6) -> go.Figure:
    """Direct logit attribution over time, with p(speak) and what was said.

    Raises ValueError when they are not of one length.
    """
    tracks = [decision_track(recording), attribution_track(attribution, n), said_track(recording)]
    return stack(tracks, recording, "What adds to its decision?")


def plot_attribution_turn(attribution: Attribution, turn: int, n: int = 12) -> go.Figure:
    """One turn's decision as a waterfall: the `n` components that moved it most, all others, and their sum.

    Raises ValueError for a turn that is not there.
    """
    import plotly.graph_objects as go

    turns = attribution.values.shape[1]
    if not 0 <= turn < turns:
        raise ValueError(f"there is no turn {turn}: the attribution has turns 0..{turns - 1}.")
    top = attribution.top(turn, n)
    whole, left = float(attribution.logit_difference[turn]), len(attribution.labels) - len(top)
    rest = float(attribution.values[:, turn].sum() - sum(value for _, value in top))
    steps = [*top, *([(f"other {left}", rest)] if left else [])]
    figure = go.Figure(
        go.Waterfall(
            x=[label for label, _ in steps] + ["sum"], y=[*plain([value for _, value in steps]), 0],
            measure=["relative"] * len(steps) + ["total"],
            text=[f"{value:+.1f}" for _, value in steps] + [f"{whole:+.1f}"], textposition="outside", cliponaxis=False,
            increasing={"marker": {"color": SPEAK_COLOUR}}, decreasing={"marker": {"color": SERIES[0]}},
            totals={"marker": {"color": SOFT}}, connector={"line": {"color": SILENT_COLOUR, "width": 1}},
            hovertemplate="%{x}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    heights = np.cumsum([0.0, *(value for _, value in steps)])
    low, high = min(float(heights.min()), 0.0), max(float(heights.max()), 0.0)
    room = 0.12 * max(high - low, 1e-3)  # for the numbers above and below the bars
    figure.update_yaxes(
        title="&lt;speak> less &lt;silent>, logits", range=[low - room, high + room],
        zeroline=True, zerolinecolor=SOFT,
    )  # fmt: skip
    figure.update_xaxes(type="category", tickangle=-45 if len(steps) > 14 else 0)
    told = ", ".join(f"{label} {value:+.2f}" for label, value in top[:3])
    leaning = "to speech" if whole > 0 else "to silence"
    alt = f"Waterfall of the decision at {at_turn(turn)}: {whole:+.2f}, {leaning}. Most weigh {told}."
    return finish(figure, alt, f"What added to the decision at {at_turn(turn)}?").update_layout(showlegend=False)
