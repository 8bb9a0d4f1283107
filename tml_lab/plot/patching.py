"""Figures of patching sweeps: layer by turn on the time axis, layer by head as a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tml_lab.interp.patching import Sweep
from tml_lab.plot.decision import decision_track
from tml_lab.plot.grid import grid_track, parts_track, plot_table
from tml_lab.plot.sound import heard_wave, said_track
from tml_lab.plot.track import Track, at_turn, stack
from tml_lab.stream.clock import heard_start
from tml_lab.stream.recording import Recording

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEAST_END = 1.0  # the colour scale reaches at least "as in the clean run"


def _when(column: str) -> int | None:
    """The turn that `turn 14` names."""
    found = re.fullmatch(r"turn (\d+)", column)
    return int(found[1]) if found else None


def _best(sweep: Sweep) -> str:
    if not sweep.restored.size:
        return "Nothing was patched."
    row, column = np.unravel_index(int(sweep.restored.argmax()), sweep.restored.shape)
    label = sweep.columns[int(column)]
    where = at_turn(turn) if (turn := _when(label)) is not None else label
    return (
        f"The decision of {at_turn(sweep.turn)} is {sweep.clean:+.1f} in the clean run and {sweep.corrupt:+.1f} in the "
        f"corrupt one; most comes back from {sweep.rows[int(row)]} at {where}: {sweep.restored[row, column]:.0%}."
    )


def sweep_track(sweep: Sweep) -> Track:
    """A sweep over layers and turns (`patch_turns`): 0 as in the corrupt run, 1 as in the clean one.

    Raises ValueError when its columns are not turns.
    """
    turns = [_when(column) for column in sweep.columns]
    if None in turns:
        raise ValueError(f"the columns {sweep.columns[:3]}... are not turns: use plot_sweep.")
    which = np.array(turns, int)
    first, end = (int(which.min()), int(which.max()) + 1) if len(which) else (0, 0)
    grid = np.full((len(sweep.rows), end - first), np.nan, np.float32)  # nan: not patched
    grid[:, which - first] = sweep.restored
    track = grid_track(
        grid, sweep.rows, f"brought back of the decision of {at_turn(sweep.turn)}", _best(sweep),
        around_zero=True, shown_as=".0%", first=first, upwards=True, whole=False,
    )  # fmt: skip
    heat = track.traces[0]
    most = max(LEAST_END, heat["zmax"])
    heat |= {"zmin": -most, "zmax": most}
    return track


def plot_sweep(sweep: Sweep, recording: Recording | None = None) -> go.Figure:
    """A patching sweep: over time with what was heard and said when its columns are turns, else a table.

    Orange brings the clean run's decision back, blue drives it further away.
    """
    title = f"Where lies what decided turn {sweep.turn} ({heard_start(sweep.turn):.1f} s)?"
    if all(_when(column) is not None for column in sweep.columns):
        tracks = [sweep_track(sweep)]
        if recording is not None:
            tracks = [heard_wave(recording), *tracks, said_track(recording)]
        return stack(tracks, recording, title)
    return plot_table(
        sweep.restored, sweep.rows, sweep.columns, title, _best(sweep), unit="brought back", shown_as=".0%",
        least=LEAST_END, around_zero=True, upwards=True,
    )  # fmt: skip


def plot_parts(
    recording: Recording, values: xr.DataArray, n: int = 12, name: str = "brought back by part"
) -> go.Figure:
    """Heads and experts over time (`patch_parts`, `attribute_patches`, `patch_paths`), with p(speak) and what was said.

    Raises ValueError for an array with other axes.
    """
    tracks = [decision_track(recording), parts_track(values, n, name), said_track(recording)]
    return stack(tracks, recording, "Which parts carry it, and when?")
