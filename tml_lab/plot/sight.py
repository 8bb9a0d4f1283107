"""What a session still sees of its past, turn by turn: the reach of its rings, by what it remembers by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import ModelConfig
from tml_lab.plot.style import COLOURS, INK, SERIES, finish, plain
from tml_lab.stream.clock import TURNS_PER_SECOND, heard_start
from tml_lab.stream.recording import Recording, RecordingError

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST = 300  # turns that are drawn of a long session
LOCAL, SINKS = SERIES[5], SERIES[3]


@dataclass(frozen=True)
class Sight:
    """How far back a session sees from each turn's decision.

    Args:
        turns: int [k], some of its turns.
        oldest_local, oldest_global: float [k], the second at which the oldest position in the window begins.
        sinks_until: float [k], the second up to which the first positions are kept; 0 where they are still in the
            window, or there are none.
    """

    turns: np.ndarray
    oldest_local: np.ndarray
    oldest_global: np.ndarray
    sinks_until: np.ndarray


def in_sight(recording: Recording, most: int = MOST) -> Sight:
    """What the rings of a recording's session held at its decisions, of at most `most` turns.

    Raises RecordingError for a recording that does not say how its model was built.
    """
    if not recording.config:
        raise RecordingError("this recording does not say how far its model reaches back: it has no configuration.")
    cfg, table = ModelConfig.from_dict(dict(recording.config)), recording.tokens
    position = np.flatnonzero(table.decides)
    some = np.unique(np.linspace(0, max(0, len(position) - 1), most).astype(int))[: len(position)]
    position, starts = position[some], table.starts

    def oldest(window: int) -> np.ndarray:
        return starts[np.maximum(position - window + 1, 0)]

    window = cfg.global_budget - cfg.n_sinks
    out = position - window + 1 > cfg.n_sinks  # the first positions lie outside the window
    first = table.turn[: cfg.n_sinks]
    kept = (int(first[-1]) + 1) / TURNS_PER_SECOND if len(first) else 0.0
    return Sight(table.turn[position], oldest(cfg.window), oldest(window), np.where(out, kept, 0.0))


def plot_in_sight(recordings: Mapping[str, Recording], title: str | None = None) -> go.Figure:
    """One panel for each session: which seconds of its past (upwards) it still sees at each second (to the right).

    Filled: what its local layers see; hatched: its global layers; at the bottom the first positions, kept for good. A
    diamond is what the user typed, a cross what its policy typed in again.

    Raises ValueError without recordings, RecordingError for one that does not say how its model was built.
    """
    from plotly.subplots import make_subplots

    if not recordings:
        raise ValueError("there is no recording to draw: give at least one, by name.")
    figure = make_subplots(1, len(recordings), subplot_titles=list(recordings), shared_yaxes=True)
    told: list[str] = []
    named: set[str] = set()  # each once in the legend, where there is some of it
    for column, (name, recording) in enumerate(recordings.items(), start=1):
        sight = in_sight(recording)
        for trace in _panel(recording, sight):
            label = str(trace.name)
            trace.showlegend = bool(trace.x) and label not in named
            named |= {label} if trace.showlegend else set()
            figure.add_trace(trace, 1, column)
        told.append(f"{name}: {_in_words(recording, sight)}")
    figure.update_xaxes(title="second of the session").update_yaxes(title="second that it sees", row=1, col=1)
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "y": -0.22}, margin={"l": 60, "r": 24, "t": 80, "b": 90}
    )
    return finish(figure, f"What is still in sight. {'; '.join(told)}.", title or "What does it still see?", 420)


def _panel(recording: Recording, sight: Sight) -> list[go.Scatter]:
    """The traces of one session."""
    import plotly.graph_objects as go

    now = (sight.turns + 1) / TURNS_PER_SECOND  # a decision has heard its whole turn
    bands = (  # the hatched one lies over the filled one: either may reach further back
        ("its local layers see", LOCAL, "", sight.oldest_local, now),
        ("its global layers see", INK, "/", sight.oldest_global, now),
        ("the first positions", SINKS, "", np.zeros(len(now)), sight.sinks_until),
    )
    traces = []
    for name, colour, hatch, low, high in bands:
        some = high > low
        x, y = np.concatenate([now[some], now[some][::-1]]), np.concatenate([low[some], high[some][::-1]])
        filled = {"shape": hatch, "fgcolor": colour, "bgcolor": "rgba(0,0,0,0)", "solidity": 0.15}
        traces.append(
            go.Scatter(
                x=plain(x), y=plain(y), name=name, legendgroup=name, mode="lines", fill="toself",
                line={"color": colour, "width": 1}, hoverinfo="skip",
                **({"fillpattern": filled} if hatch else {"fillcolor": colour}),
            )
        )  # fmt: skip
    marks = (
        ("typed", "diamond", COLOURS["text_in"], recording.inputs.typed),
        ("typed again by its policy", "x", INK, recording.notes),
    )
    for name, symbol, colour, words in marks:
        at = plain([heard_start(turn) for turn, _ in words])
        traces.append(
            go.Scatter(
                x=at, y=at, text=[text for _, text in words], name=name, legendgroup=name,
                mode="markers", marker={"symbol": symbol, "size": 8, "color": colour},
                hovertemplate="%{x:.1f} s: %{text}<extra></extra>",
            )
        )  # fmt: skip
    return traces


def _in_words(recording: Recording, sight: Sight) -> str:
    if not len(sight.turns):
        return "nothing yet"
    end = (sight.turns[-1] + 1) / TURNS_PER_SECOND
    kept = f" and the first {sight.sinks_until[-1]:.1f} s" if sight.sinks_until[-1] else ""
    noted = f", {len(recording.notes)} notes typed again" if recording.notes else ""
    return (
        f"at {end:.1f} s its local layers see the last {end - sight.oldest_local[-1]:.1f} s, "
        f"its global layers the last {end - sight.oldest_global[-1]:.1f} s{kept}{noted}"
    )
