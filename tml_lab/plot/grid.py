"""Heat maps of turns: rows of anything over the common time axis; and of plain tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.plot.style import AMOUNT, LEANING, bar_of_colours, limit, plain
from tml_lab.plot.track import Track, middles


def colours(values: np.ndarray, around_zero: bool) -> dict[str, Any]:
    """The colour scale of a heat map and its ends."""
    most = limit(values)
    return {"colorscale": LEANING if around_zero else AMOUNT, "zmin": -most if around_zero else 0, "zmax": most}


def check_rows(values: np.ndarray, labels: Sequence[str], what: str) -> np.ndarray:
    """`[rows, turns]`. Raises ValueError when the labels are not as many as the rows."""
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(f"{what} should be [{len(labels)} rows, turns] as there are {len(labels)} labels, "
                         f"not {list(values.shape)}.")  # fmt: skip
    return values


def grid_track(
    values: np.ndarray,
    labels: Sequence[str],
    name: str,
    alt: str,
    *,
    around_zero: bool = False,
    shown_as: str = ".2f",
    unit: str = "",
    first: int = 0,
    upwards: bool = False,
    whole: bool = True,
) -> Track:
    """`values [rows, turns]`, from turn `first` on, as a heat map.

    Args:
        upwards: the first row at the bottom, as layers are counted, not on top.
        shown_as: format of a value in the hover; `unit` stands over the colour bar.
        whole: whether the turns are all that the recording has.
    """
    values = check_rows(values, labels, name)
    heat = {
        "type": "heatmap", "z": plain(values), "x0": middles([first])[0], "dx": TURN_SECONDS, "y": list(labels),
        "name": name, "hovertemplate": f"%{{y}}: %{{z:{shown_as}}}<extra></extra>",
        "colorbar": {**bar_of_colours(unit), **({"tickformat": shown_as} if "%" in shown_as else {})},
        **colours(values, around_zero),
    }  # fmt: skip
    low, high = (-0.5, len(labels) - 0.5) if upwards else (len(labels) - 0.5, -0.5)
    axis = {"type": "category", "range": [low, high], "showgrid": False, "dtick": 1}
    return Track(name, (heat,), alt, axis, 0.4 + 0.18 * len(labels), first + values.shape[1], whole)
