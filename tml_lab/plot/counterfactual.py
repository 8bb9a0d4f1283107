"""Figures of counterfactuals: where a child leaves its parent's way, what variants do, what a decision hung on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.interp.counterfactual import diff
from tml_lab.plot.sound import said_track, typed_track
from tml_lab.plot.style import SERIES, SILENT_COLOUR, SOFT, SPEAK_COLOUR, finish, listed, plain
from tml_lab.plot.track import Track, at_turn, check_turn, middles, stack, step_line
from tml_lab.stream.recording import Recording

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tml_lab.interp.cause import Cause
    from tml_lab.interp.counterfactual import Outcome


def divergence_track(parent: Recording, child: Recording) -> Track:
    """p(speak) of both over the parent's turns; marked are the turns that decide or say something else.

    A child that ends earlier is drawn as far as it goes, a longer one as far as its parent.
    """
    n, found = min(parent.turns, child.turns), diff(parent, child)
    other = np.full(parent.turns, np.nan)
    other[:n] = child.p_speak[:n]
    apart = [turn for turn, _, _ in found.decisions]
    notes = [f"{at_turn(turn)}: {one} becomes {two}".replace("<", "&lt;") for turn, one, two in found.decisions]
    marks = {
        "type": "scatter", "mode": "markers", "x": middles(apart), "y": plain(other[apart]), "name": "differs",
        "marker": {"symbol": "diamond", "size": 9, "color": SPEAK_COLOUR}, "customdata": notes,
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip
    lines = (
        step_line(np.asarray(parent.p_speak), "parent", SOFT, dash="dot"),
        step_line(other, "child", SERIES[0]),
        *([marks] if apart else []),
    )
    alt = f"p(speak) of a recording and its counterfactual: {found}"
    return Track("p(speak), as it was and as it would be", lines, alt, {"range": [-0.03, 1.05]}, 1.4, parent.turns)


def changed_track(turns: Collection[int], name: str, of: int) -> Track:
    """Turns that were changed, as blocks. `of`: how many turns there are."""
    some = sorted(turns)
    blocks = {
        "type": "bar", "x": middles(some), "y": [1] * len(some), "width": TURN_SECONDS, "name": name,
        "marker": {"color": SERIES[3], "line": {"width": 0}}, "showlegend": False,
        "customdata": [at_turn(turn) for turn in some], "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip
    alt = f"{name}: {listed([at_turn(turn) for turn in some], 4) or 'none'}."
    return Track(name, (blocks,), alt, {"range": [0, 1], "visible": False}, 0.2, of)


def plot_divergence(parent: Recording, child: Recording) -> go.Figure:
    """A counterfactual beside what happened (`counterfactual`, `what_if`): p(speak) of both, and what both say."""
    title = "Where does it go another way?"
    return stack([*_typed(parent), divergence_track(parent, child), *_both_said(parent, child)], parent, title)


def plot_cause(parent: Recording, cause: Cause) -> go.Figure:
    """What a decision hung on (`smallest_flip`, `smallest_enough`): the turns found, and what happens then."""
    track = changed_track(cause.turns, f"found for turn {cause.turn}", parent.turns)
    both = [track, divergence_track(parent, cause.recording), *_both_said(parent, cause.recording)]
    return stack([*_typed(parent), *both], parent, f"What did the decision of {at_turn(cause.turn)} hang on?")


def plot_outcomes(parent: Recording, outcomes: Sequence[Outcome], turn: int) -> go.Figure:
    """p(speak) of one turn in each variant (`run_variants`): orange where it would speak, a line where it was.

    Raises ValueError for a turn that the recording, or a variant, has not.
    """
    import plotly.graph_objects as go

    for recording in (parent, *(outcome.recording for outcome in outcomes)):
        check_turn(recording, turn)
    labels = [outcome.variant.label for outcome in outcomes]
    p_speak = [float(outcome.recording.p_speak[turn]) for outcome in outcomes]
    decided = [outcome.recording.decisions[turn] for outcome in outcomes]
    flips = [label for label, name in zip(labels, decided, strict=True) if name != parent.decisions[turn]]
    bars = go.Bar(
        x=plain(p_speak), y=list(range(len(labels))), orientation="h",
        marker={"color": [SPEAK_COLOUR if name == "<speak>" else SILENT_COLOUR for name in decided]},
        customdata=[f"{label}: {name}".replace("<", "&lt;") for label, name in zip(labels, decided, strict=True)],
        hovertemplate="%{customdata}, p(speak) %{x:.2f}<extra></extra>",
    )  # fmt: skip
    figure, was = go.Figure(bars), float(parent.p_speak[turn])
    figure.add_shape(type="line", x0=was, x1=was, yref="paper", y0=0, y1=1, line={"color": SOFT, "dash": "dot"})
    figure.add_annotation(text="as it was", x=was, y=1, yref="paper", yanchor="bottom", showarrow=False)
    ticks = {"tickvals": list(range(len(labels))), "ticktext": labels}
    figure.update_yaxes(autorange="reversed", showgrid=False, **ticks).update_xaxes(title="p(speak)", range=[0, 1.02])
    alt = (
        f"p(speak) of {at_turn(turn)} was {was:.2f}; in {len(flips)} of {len(labels)} variants it decides otherwise: "
        f"{listed(flips, 5) or 'in none'}."
    )
    return finish(figure, alt, f"What changes the decision of {at_turn(turn)}?", 130 + 22 * max(len(labels), 3))


def _typed(recording: Recording) -> list[Track]:
    return [typed_track(recording)] if recording.inputs.typed else []


def _both_said(parent: Recording, child: Recording) -> list[Track]:
    """What both say. The child's stands where the parent's would: only as far as the parent's turns go."""
    shown = child.until(min(parent.turns, child.turns))
    tracks = []
    for name, recording in (("said, as it was", parent), ("said, as it would be", shown)):
        track = said_track(recording)
        tracks.append(Track(name, track.traces, f"{name}: {track.alt}", track.axis, track.height))
    return tracks
