"""A drawing of a circuit: the parts that are kept, layer by layer from what comes in to the decision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tml_lab.plot.style import INK, PAPER, SERIES, SILENT_COLOUR, SOFT, SPEAK_COLOUR, finish, listed

if TYPE_CHECKING:
    import plotly.graph_objects as go

_UNIT = re.compile(r"L(\d+)([HESM])(\d*)")
KINDS = {
    "H": ("heads", "circle"), "E": ("experts", "square"), "S": ("shared experts", "diamond"),
    "M": ("MLPs", "square-dot"),
}  # fmt: skip
EMBED, DECISION = "embed", "decision"
MOST_EDGES = 300


def plot_circuit(
    parts: Sequence[str],
    kept: Sequence[str] | Mapping[str, float],
    edges: Sequence[tuple[str, str, float]] = (),
    title: str = "Which parts decide?",
) -> go.Figure:
    """All parts of the model in faint outline, layer above layer, those of the circuit filled, with their edges.

    Args:
        parts: every part, by its label: `L3H2`, `L3E7`, `L3S0`, `L3M`.
        kept: those in the circuit; with a weight each, orange for more, blue for less speech.
        edges: `(from, to, weight)`; besides parts, `embed` and `decision`. The width goes by the weight's size.

    Raises ValueError for a label that is no part, or an edge to one.
    """
    import plotly.graph_objects as go

    places = _places(parts)
    for label in (*kept, *(end for edge in edges for end in edge[:2])):
        if label not in places:
            raise ValueError(f"the circuit names {label!r}, which is not among the model's {len(parts)} parts.")
    weights: Mapping[str, float | None] = kept if isinstance(kept, Mapping) else dict.fromkeys(kept)
    figure = go.Figure()
    _add_edges(figure, edges, places)
    for kind, (name, symbol) in KINDS.items():
        mine = [label for label in parts if _UNIT.fullmatch(label)[2] == kind]  # type: ignore[index]
        for inside in (False, True):
            shown = [label for label in mine if (label in weights) is inside]
            if shown:
                _add_parts(figure, shown, places, weights, name if inside else f"other {name}", symbol, inside)
    layers = sorted({y for x, y in (places[label] for label in parts)})
    for label in (EMBED, DECISION):
        x, y = places[label]
        figure.add_annotation(
            x=x, y=y, text=label, showarrow=False, bgcolor=PAPER, bordercolor=SOFT, borderpad=4, font={"color": INK}
        )
    if any(weights.values()) or edges:
        note = "orange adds to speech, blue to silence"
        figure.add_annotation(
            text=note, xref="paper", yref="paper", x=1, y=0, xanchor="right", yanchor="bottom", showarrow=False,
            font={"size": 11, "color": SOFT},
        )  # fmt: skip
    across = max((x for x, _ in places.values()), default=0)
    top = places[DECISION][1]
    figure.update_yaxes(tickvals=layers, ticktext=[f"layer {int(y)}" for y in layers], range=[-1.6, top + 0.6])
    figure.update_xaxes(visible=False, range=[-0.8, across + 0.8])
    figure.update_layout(showlegend=True, hovermode="closest")
    strongest = sorted(weights, key=lambda label: -abs(weights[label] or 0.0))
    share = f"{len(weights)} of {len(parts)} parts" + (f" ({len(weights) / len(parts):.0%})" if parts else "")
    alt = f"Circuit of {share}: {listed(strongest, 10) or 'none'}; {len(edges)} edges."
    return finish(figure, alt, title, 170 + 62 * max(len(layers), 2))


def _places(parts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Where each part stands: layers upwards, heads left of experts. Raises ValueError for a label that is no part."""
    rows: dict[int, list[tuple[int, int, str]]] = {}
    for label in parts:
        if (found := _UNIT.fullmatch(label)) is None:
            raise ValueError(f"{label!r} is no part: write L3H2, L3E7, L3S0 or L3M.")
        rows.setdefault(int(found[1]), []).append(("HSEM".index(found[2]), int(found[3] or 0), label))
    places = {}
    for layer, row in rows.items():
        x, before = 0.0, None
        for kind, _, label in sorted(row):
            x += 1.6 if before not in (None, kind) else 0.0 if before is None else 1.0
            places[label], before = (x, float(layer)), kind
    middle = max((x for x, _ in places.values()), default=0.0) / 2
    return {**places, EMBED: (middle, -1.0), DECISION: (middle, float(max(rows, default=0) + 1))}


def _leaning(weight: float) -> str:
    return SPEAK_COLOUR if weight > 0 else SERIES[0]


def _signed(weight: float | None) -> str:
    return "in the circuit" if weight is None else f"{weight:+.2f}"


def _add_parts(
    figure: go.Figure,
    shown: Sequence[str],
    places: Mapping[str, tuple[float, float]],
    weights: Mapping[str, float | None],
    name: str,
    symbol: str,
    inside: bool,
) -> None:
    colours = [SOFT if (weight := weights.get(label)) is None else _leaning(weight) for label in shown]
    look = {"color": colours, "line": {"width": 1, "color": INK}} if inside else {
        "color": PAPER, "line": {"width": 1, "color": SILENT_COLOUR}
    }  # fmt: skip
    told = [f"{label}, {'outside' if not inside else _signed(weights[label])}" for label in shown]
    figure.add_scatter(
        x=[places[label][0] for label in shown], y=[places[label][1] for label in shown], name=name,
        mode="markers+text" if inside else "markers",
        text=[label.lstrip("L0123456789") for label in shown], textposition="top center", textfont={"size": 11},
        marker={"symbol": symbol, "size": 15 if inside else 9, **look},
        customdata=told, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _add_edges(
    figure: go.Figure, edges: Sequence[tuple[str, str, float]], places: Mapping[str, tuple[float, float]]
) -> None:
    """The edges of greatest weight, each a line of its own width."""
    strongest = sorted(edges, key=lambda edge: -abs(edge[2]))[:MOST_EDGES]
    most = max((abs(weight) for _, _, weight in strongest), default=0.0) or 1.0
    for source, target, weight in strongest:
        (x0, y0), (x1, y1) = places[source], places[target]
        figure.add_shape(
            type="line", x0=x0, y0=y0, x1=x1, y1=y1, layer="below", opacity=0.25 + 0.6 * abs(weight) / most,
            line={"color": _leaning(weight), "width": 0.75 + 3 * abs(weight) / most},
        )  # fmt: skip
