"""Tracks: strips of one time axis, each drawn from numbers of its own, stacked under one cursor.

The axis is the heard clock in seconds. A turn's numbers stand over the 0.2 s that it heard; what it said stands where
it sounds, one turn later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.plot.style import INK, SOFT, SPEAK_COLOUR, finish, plain
from tml_lab.stream.clock import TURNS_PER_SECOND, Clock, heard_span, heard_start, span, turn_hearing
from tml_lab.stream.recording import Recording, seconds_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

UNIT, GAP, TOP, BOTTOM, LEFT = 92, 24, 42, 48, 56  # pixels
RIGHT, BESIDE = 24, 132  # pixels: without and with a legend or colour bar
AXIS_TITLE = "seconds (heard clock)"


@dataclass(frozen=True, eq=False)
class Track:
    """One strip of a time axis.

    Args:
        name: stands above it.
        traces: plotly traces as dicts, their x in seconds; `stack` gives them their y axis.
        alt: what it shows, in words and numbers.
        axis: properties of its y axis.
        height: in units of about 90 pixels.
        turns: the turn after its last; None: it does not go by turns.
        whole: whether it covers all turns of its recording.
    """

    name: str
    traces: tuple[dict[str, Any], ...]
    alt: str
    axis: dict[str, Any] = field(default_factory=dict)
    height: float = 1.0
    turns: int | None = None
    whole: bool = True

    @property
    def beside(self) -> bool:
        """Whether a legend or colour bar stands beside it."""
        return any(trace["type"] == "heatmap" or trace.get("showlegend", True) for trace in self.traces)

    def check(self, recording: Recording) -> None:
        """Raises ValueError when it is not of the recording's length."""
        if self.whole:
            check_turns(recording, self.turns, self.name)

    def figure(self, recording: Recording | None = None, title: str | None = None) -> go.Figure:
        """The track alone, with the decisions of `recording` marked."""
        return stack([self], recording, title)


def middles(turns: int | Sequence[int] | np.ndarray, clock: Clock | str = Clock.HEARD) -> list[float]:
    """The middle of each turn in seconds: where its numbers stand."""
    late = 1 if Clock(clock) is Clock.PLAYED else 0
    which = np.arange(turns) if isinstance(turns, int) else np.asarray(turns)
    return [round(float(n), 4) for n in (which + late + 0.5) / TURNS_PER_SECOND]


def step_line(values: np.ndarray, name: str, colour: str, **looks: Any) -> dict[str, Any]:
    """A line that is level over each turn: `values [turns]`; `looks` as plotly's `line`."""
    x, y = middles(len(values)), plain(values)
    if x:  # the first and the last turn's outer halves
        x, y = [round(x[0] - TURN_SECONDS / 2, 4), *x, round(x[-1] + TURN_SECONDS / 2, 4)], [y[0], *y, y[-1]]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "name": name,
        "line": {"color": colour, "width": 2, "shape": "hvh", **looks},
        "hovertemplate": f"{name} %{{y:.2f}}<extra></extra>",
    }  # fmt: skip


def reader(x: Sequence[float], notes: Sequence[str] | None = None, y: float = 0.0) -> dict[str, Any]:
    """Unseen points that catch the pointer, one a turn: a track's only line in the hover, or none."""
    shown = {"hoverinfo": "none"} if notes is None else {
        "customdata": list(notes), "hovertemplate": "%{customdata}<extra></extra>"
    }  # fmt: skip
    return {
        "type": "scatter", "mode": "markers", "x": list(x), "y": [y] * len(x), "showlegend": False, "name": "reader",
        "marker": {"opacity": 0, "size": 1, "color": SOFT}, **shown,
    }  # fmt: skip


def at_turn(turn: int) -> str:
    """`turn 21 (4.2 s)`."""
    return f"turn {turn} ({heard_start(turn):.1f} s)"


def runs(marked: Sequence[bool] | np.ndarray) -> list[tuple[int, int]]:
    """`[first, end)` of each run of True."""
    edges = np.flatnonzero(np.diff(np.asarray(marked, np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def check_turns(recording: Recording, turns: int | None, what: str) -> None:
    """Raises ValueError when numbers and recording are not of one length."""
    if turns is not None and turns != recording.turns:
        raise ValueError(
            f"{what} has {turns} turns and the recording {recording.turns}: draw it with the recording it came from."
        )


def check_turn(recording: Recording, turn: int) -> None:
    """Raises ValueError for a turn that the recording has not."""
    if not 0 <= turn < recording.turns:
        raise ValueError(
            f"turn {turn} ({turn / TURNS_PER_SECOND:.1f} s) lies outside the recording: it has "
            f"{recording.turns} turns, {recording.turns / TURNS_PER_SECOND:.1f} s."
        )


def span_around(recording: Recording, turn: int | None, t: float | None, around: float) -> tuple[float, float]:
    """`around` seconds to either side of a turn, or of the turn that hears second `t`; without either, all.

    Raises ValueError for a turn outside the recording.
    """
    turn = turn_hearing(t) if t is not None else turn
    if turn is None:
        return 0.0, seconds_of(recording)
    check_turn(recording, turn)
    begin, end = heard_span(turn)
    return max(0.0, begin - around), min(seconds_of(recording), end + around)


def time_axis(figure: go.Figure, seconds: float, recording: Recording | None = None) -> go.Figure:
    """Give a figure the common time axis: seconds, one spike line over all tracks, turns that were spoken marked."""
    figure.update_xaxes(
        title={"text": AXIS_TITLE, "standoff": 6}, range=[0, round(max(seconds, TURN_SECONDS), 4)], nticks=16,
        showspikes=True, spikemode="across", spikesnap="cursor", spikethickness=1, spikecolor=SOFT, spikedash="solid",
        unifiedhovertitle={"text": "%{x:.1f} s"}, zeroline=False,
    )  # fmt: skip
    figure.update_layout(hovermode="x unified", hoversubplots="axis", hoverdistance=15, spikedistance=-1)
    marks = [
        {
            "type": "rect", "xref": "x", "yref": "paper", "x0": heard_start(first), "x1": heard_start(end), "y0": 0,
            "y1": 1, "fillcolor": SPEAK_COLOUR, "opacity": 0.09, "line": {"width": 0}, "layer": "below",
            "name": "decides to speak",
        }
        for first, end in (runs([d != "<silent>" for d in recording.decisions]) if recording is not None else [])
    ]  # fmt: skip
    # All at once: plotly copies what is there for each one that is added.
    return figure.update_layout(shapes=[*figure.layout.shapes, *marks])


def stack(
    tracks: Sequence[Track],
    recording: Recording | None = None,
    title: str | None = None,
    height: int | None = None,
    marks: bool = True,
) -> go.Figure:
    """Tracks above one another on one time axis: a hover or spike in one is a hover in all.

    Args:
        recording: gives the axis its length and the marks of its decisions; without it, as long as the tracks.
        height: in pixels; by default from the tracks' own.
        marks: shade the turns in which it decided to speak.

    Raises ValueError when there are no tracks, or a track is not of the recording's length.
    """
    import plotly.graph_objects as go

    if not tracks:
        raise ValueError("there are no tracks to stack: give at least one.")
    if recording is not None:
        for track in tracks:
            track.check(recording)
    seconds = seconds_of(recording) if recording is not None else _longest(tracks)
    top = TOP + (24 if title else 0)
    inner = sum(track.height * UNIT for track in tracks) + GAP * (len(tracks) - 1)
    if height is not None:
        inner = max(height - top - BOTTOM, 120)
    figure = go.Figure()
    for row, (track, domain) in enumerate(zip(tracks, _domains(tracks, inner), strict=True), 1):
        _place(figure, track, row, domain)
    right = BESIDE if any(track.beside for track in tracks) else RIGHT
    last = f"y{len(tracks) if len(tracks) > 1 else ''}"
    figure.update_layout(xaxis={"anchor": last, "domain": [0, 1]}, barmode="relative", bargap=0, showlegend=True)
    figure.update_layout(margin={"l": LEFT, "r": right, "t": top, "b": BOTTOM})
    time_axis(figure, seconds, recording if marks else None)
    alt = " ".join([*([title] if title else []), f"{seconds:.1f} seconds.", *(track.alt for track in tracks)])
    return finish(figure, alt, title, round(inner + top + BOTTOM))


def _longest(tracks: Sequence[Track]) -> float:
    return max(((track.turns or 0) + 1) / TURNS_PER_SECOND for track in tracks)


def _domains(tracks: Sequence[Track], inner: float) -> list[tuple[float, float]]:
    """Low and high end of each track on the paper, the first on top."""
    room = max(1 - GAP * (len(tracks) - 1) / inner, 0.2)
    whole, high, found = sum(track.height for track in tracks), 1.0, []
    for track in tracks:
        low = high - room * track.height / whole
        found.append((max(low, 0.0), high))
        high = low - GAP / inner
    return found


def _place(figure: go.Figure, track: Track, row: int, domain: tuple[float, float]) -> None:
    """Add a track's traces on a y axis of their own, its name above, its legend or colour bar beside it."""
    n = str(row) if row > 1 else ""
    low, high = domain
    for trace in track.traces:
        trace = {**trace, "xaxis": "x", "yaxis": f"y{n}"}
        if trace["type"] == "heatmap":
            bar = trace.get("colorbar", {})
            if track.height < 1 and "zmin" in trace:  # the labels of a low bar would lie on one another: its ends alone
                ends = {"tickvals": [trace["zmin"], trace["zmax"]], "tickfont": {"size": 9}}
                bar = {"tickformat": ".2~r", **bar, **ends}
            trace["colorbar"] = {**bar, "x": 1.01, "y": low, "yanchor": "bottom", "len": high - low, "xpad": 2}
        else:
            trace["legend"] = f"legend{n}"
        figure.add_trace(trace)
    axis = {"fixedrange": True, "domain": [low, high], "anchor": "x", **track.axis}
    legend = {"x": 1.01, "y": high, "yanchor": "top", "font": {"size": 11}, "bgcolor": "rgba(0,0,0,0)"}
    figure.update_layout({f"yaxis{n}": axis, f"legend{n}": legend})
    figure.add_annotation(
        text=track.name, xref="paper", yref="paper", x=0, y=high, xanchor="left", yanchor="bottom", showarrow=False,
        font={"size": 12, "color": INK},
    )  # fmt: skip


def turn_spans(turns: int, clock: Clock | str = Clock.HEARD) -> list[str]:
    """`turn 21, 4.2 to 4.4 s`, for hovers."""
    return [f"turn {n}, {span(n, clock)[0]:.1f} to {span(n, clock)[1]:.1f} s" for n in range(turns)]
