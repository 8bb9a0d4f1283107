"""Figures of attention: by stream over time, and by lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tml_lab.config import TURN_SECONDS
from tml_lab.plot.decision import decision_track
from tml_lab.plot.sound import said_track
from tml_lab.plot.style import COLOURS, finish, plain
from tml_lab.plot.track import Track, at_turn, middles, reader, stack
from tml_lab.stream.clock import Clock
from tml_lab.stream.recording import Attention, Recording
from tml_lab.stream.tokens import STREAM_LABELS

if TYPE_CHECKING:
    import plotly.graph_objects as go


def _who(found: xr.DataArray) -> str:
    """`L3H2`, or what a mean is over."""
    layers, heads = (np.atleast_1d(found[axis].values) if axis in found.coords else [] for axis in ("layer", "head"))
    if len(layers) == 1 and len(heads) == 1:
        return f"L{int(layers[0])}H{int(heads[0])}"
    return f"mean of {max(1, len(layers)) * max(1, len(heads))} heads"


def _mean_of_heads(found: xr.DataArray) -> xr.DataArray:
    return found.mean([axis for axis in ("layer", "head") if axis in found.dims])


def _shares_track(
    shares: np.ndarray, turns: np.ndarray, streams: list[str], name: str, whole: bool, clock: Clock = Clock.HEARD
) -> Track:
    """`shares [turns, streams]` as bars on one another; streams that are never looked at are left out."""
    shown = [i for i in range(len(streams)) if shares[:, i].max(initial=0) > 0]
    shares, streams = shares[:, shown], [streams[i] for i in shown]
    bars: list[dict[str, Any]] = [
        {
            "type": "bar", "x": middles(turns, clock), "y": plain(shares[:, i]), "width": TURN_SECONDS,
            "name": STREAM_LABELS[stream], "marker": {"color": COLOURS[stream], "line": {"width": 0}},
            "hoverinfo": "none",
        }
        for i, stream in enumerate(streams)
    ]  # fmt: skip
    axis = {"range": [0, 1], "tickvals": [0, 0.5, 1], "tickformat": ".0%"}
    labels = [STREAM_LABELS[stream] for stream in streams]
    notes = [
        "looks at " + ", ".join(f"{labels[i]} {row[i]:.0%}" for i in np.argsort(-row) if row[i] >= 0.005)
        for row in shares
    ]
    until = int(turns[-1]) + 1 if len(turns) else 0
    traces = (*bars, reader(middles(turns, clock), notes, 0.5))
    return Track(name, traces, _looks(shares, turns, streams, name), axis, 1.0, until, whole)


def _looks(shares: np.ndarray, turns: np.ndarray, streams: list[str], name: str) -> str:
    """Where most of the attention goes, and when each stream has its greatest share."""
    if not shares.size:
        return f"{name}: no turns."
    mean = shares.mean(0)
    most = int(mean.argmax())
    peaks = [
        f"{STREAM_LABELS[stream]} at most {shares[:, i].max():.0%} at {at_turn(int(turns[shares[:, i].argmax()]))}"
        for i, stream in enumerate(streams)
        if i != most and shares[:, i].max() > 0.005
    ]
    average = f"on average {mean[most]:.0%} on what is {STREAM_LABELS[streams[most]]}"
    return f"{name}: {average}; {', '.join(peaks) or 'no other'}."


def attention_track(shares: xr.DataArray) -> Track:
    """`attention_by(cache, "stream")`'s `[layer, head, query, stream]` as shares over time, the mean of its heads.

    Raises ValueError for an array with other axes, or with several queries of a turn.
    """
    _check_axes(shares, ("query", "stream"))
    mean = _mean_of_heads(shares).transpose("query", "stream")
    turns, streams = shares["query_turn"].values, [str(name) for name in shares["stream"].values]
    if len(set(turns.tolist())) < len(turns):
        raise ValueError(f"there are {len(turns)} queries of {len(set(turns.tolist()))} turns: choose of='decision'.")
    return _shares_track(mean.values, turns, streams, f"attention of the decision ({_who(shares)})", False)


def watched_track(watched: Attention, clock: Clock = Clock.HEARD) -> Track:
    """The shares of the head that a session watched, where each turn heard, or where it is played."""
    name = f"attention of the decision (L{watched.layer}H{watched.head})"
    shares = np.asarray(watched.share, np.float32)
    return _shares_track(shares, np.arange(len(shares)), list(watched.streams), name, True, clock)


def plot_attention(recording: Recording, shares: xr.DataArray) -> go.Figure:
    """Attention by stream over time, with p(speak) and what was said. Raises ValueError as `attention_track`."""
    tracks = [decision_track(recording), attention_track(shares), said_track(recording)]
    return stack(tracks, recording, "Where does it look when it decides?")


def plot_attention_lag(lags: xr.DataArray, seconds: float = 6.0) -> go.Figure:
    """`attention_by(cache, "lag")`'s `[layer, head, query, stream, lag]`: attention by how long ago, one line a stream.

    Each point is the mean over heads and over the turns that reach back so far; lag 0 is the deciding turn itself.

    Args:
        seconds: the longest lag shown.

    Raises ValueError for an array with other axes.
    """
    import plotly.graph_objects as go

    _check_axes(lags, ("query", "stream", "lag"))
    n = min(lags.sizes["lag"], round(seconds / TURN_SECONDS) + 1)
    found = _mean_of_heads(lags).transpose("query", "stream", "lag").values[:, :, :n]
    reach = lags["query_turn"].values[:, None] >= np.arange(n)  # [query, lag]
    mean = found.sum(0) / np.maximum(reach.sum(0), 1)  # [stream, lag]
    figure = go.Figure()
    x = plain(np.arange(n) * TURN_SECONDS)
    streams = [str(name) for name in lags["stream"].values]
    for i, stream in enumerate(streams):
        if not found[:, i].any():
            continue
        label = STREAM_LABELS[stream]
        figure.add_scatter(
            x=x, y=plain(mean[i]), name=label, mode="lines+markers", line={"color": COLOURS[stream], "width": 2},
            marker={"size": 5}, hovertemplate=f"{label} %{{x:.1f}} s ago: %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    longest = max((n - 1) * TURN_SECONDS, 0.2)
    figure.update_xaxes(title="seconds before the deciding turn", range=[-0.05, longest + 0.05])
    figure.update_yaxes(title="attention", tickformat=".1~%", rangemode="tozero")
    alt = f"Attention by lag, {_who(lags)}. "
    if mean.size and mean.max() > 0:
        best, when = np.unravel_index(mean.argmax(), mean.shape)
        what = f"what was {STREAM_LABELS[streams[int(best)]]} {when * TURN_SECONDS:.1f} s before"
        alt += f"Strongest: {what}, {mean.max():.1%}."
    else:
        alt += "There are no turns."
    return finish(figure, alt, f"How far back does it look? ({_who(lags)})")


def _check_axes(found: xr.DataArray, needs: tuple[str, ...]) -> None:
    if set(needs) - set(found.dims) or set(found.dims) - {*needs, "layer", "head"}:
        raise ValueError(f"this has the axes {found.dims}, and {needs} are drawn: choose attention_by's by= for them.")
