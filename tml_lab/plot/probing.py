"""Figures of what can be read inside: probes with their controls, features of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tml_lab.plot.decision import decision_track
from tml_lab.plot.grid import check_rows, grid_track
from tml_lab.plot.sound import said_track
from tml_lab.plot.style import INK, SERIES, SOFT, listed
from tml_lab.plot.track import Track, at_turn, stack, step_line
from tml_lab.stream.recording import Recording

if TYPE_CHECKING:
    import plotly.graph_objects as go


def probe_track(
    reading: np.ndarray,
    control: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    name: str = "probe",
    unit: str = "",
) -> Track:
    """What a probe reads at each turn's decision, with what its control reads and what is true: float32 [turns] each.

    Args:
        name: what it reads, `seconds since asked`; `unit` is added to it.

    Raises ValueError when they are not of one length.
    """
    lines: list[dict[str, Any]] = []
    given = (
        ("truth", truth, INK, "dot", 2),
        ("control", control, SOFT, "dash", 1.5),
        ("probe", reading, SERIES[0], "solid", 2),
    )
    for label, values, colour, dash, width in given:
        if values is None:
            continue
        if len(values) != len(reading):
            raise ValueError(f"the {label} of {name!r} has {len(values)} turns and the probe {len(reading)}.")
        lines.append(step_line(np.asarray(values), label, colour, dash=dash, width=width))
    axis = {"zeroline": True, "zerolinecolor": SOFT, "zerolinewidth": 1}
    title = f"{name}, {unit}" if unit else name
    return Track(title, tuple(lines), _reads(np.asarray(reading), control, truth, title), axis, 1.3, len(reading))


def _reads(reading: np.ndarray, control: np.ndarray | None, truth: np.ndarray | None, name: str) -> str:
    if not len(reading):
        return f"{name}: no turns."
    span = f"{reading.min():.2f} to {reading.max():.2f}"
    text = f"{name}: the probe reads {span}, most at {at_turn(int(reading.argmax()))}"
    if truth is not None:
        off = [
            f"{who} is off by {np.nanmean(np.abs(values - truth)):.2f}"
            for who, values in (("it", reading), ("the control", control))
            if values is not None
        ]
        text += f"; on average {' and '.join(off)}"
    return text + "."


def plot_probe(recording: Recording, reading: np.ndarray, **parts: Any) -> go.Figure:
    """A probe's reading over time, with p(speak) and what was said; `parts` as in `probe_track`."""
    tracks = [decision_track(recording), probe_track(reading, **parts), said_track(recording)]
    return stack(tracks, recording, "What can be read at its decisions?")


def features_track(activations: np.ndarray, labels: Sequence[str], name: str = "features") -> Track:
    """Activations of an autoencoder's features, `[turns, features]`, one row a feature, each from 0 to its own peak.

    Raises ValueError when the labels are not as many as the features.
    """
    rows = check_rows(np.asarray(activations, np.float32).T, labels, "the activations, turned,")
    peaks = np.abs(rows).max(1, initial=0.0)
    told = [
        f"{label} fires most at {at_turn(int(row.argmax()))}"
        for label, row, peak in zip(labels, rows, peaks, strict=True)
        if peak > 0
    ]
    alt = f"{name}: {listed(told) or 'none fires'}."
    track = grid_track(rows / np.maximum(peaks, 1e-9)[:, None], labels, name, alt, shown_as=".2f", unit="of its peak")
    track.traces[0]["hovertemplate"] = "%{y}: %{z:.0%} of its peak<extra></extra>"
    return track


def plot_features(recording: Recording, activations: np.ndarray, labels: Sequence[str]) -> go.Figure:
    """Feature timelines, with p(speak) and what was said. Raises ValueError as `features_track`."""
    tracks = [decision_track(recording), features_track(activations, labels), said_track(recording)]
    return stack(tracks, recording, "What fires before it speaks?")
