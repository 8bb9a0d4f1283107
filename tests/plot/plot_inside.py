"""What an inside could hold, with values that are known, for recordings of any length; and every figure of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from tml_lab.interp.ahead import Rise
from tml_lab.interp.attribution import Attribution
from tml_lab.interp.causal import CausalCheck
from tml_lab.interp.cause import Cause
from tml_lab.interp.circuit import Preserved
from tml_lab.interp.counterfactual import Outcome, diff
from tml_lab.interp.decision import Decisions
from tml_lab.interp.inertia import Inertia
from tml_lab.interp.linear import Readout, Score
from tml_lab.interp.listening import ListeningHeads
from tml_lab.interp.patching import Sweep
from tml_lab.interp.probe import Probe
from tml_lab.interp.similarity import LagCurve
from tml_lab.interp.steering import DoseResponse
from tml_lab.interp.variants import Variant
from tml_lab.plot import interp as plots
from tml_lab.plot.linked import LinkedTracks
from tml_lab.plot.timeline import timeline
from tml_lab.stream.recording import Recording
from tml_lab.stream.tokens import STREAMS

LAYERS, HEADS, EXPERTS = 3, 2, 4
KINDS = {"H": HEADS, "E": EXPERTS, "S": 1}
PARTS = [f"L{layer}{kind}{n}" for layer in range(LAYERS) for kind, many in KINDS.items() for n in range(many)]


def decisions_of(recording: Recording) -> Decisions:
    """Logit differences -2 in silence, +3 in speech."""
    difference = np.where(np.asarray(recording.p_speak) > 0.5, 3.0, -2.0).astype(np.float32)
    logits = np.stack([np.zeros_like(difference), difference], -1)
    return Decisions(recording.decisions, recording.p_speak, difference, logits)


def lens_of(turns: int) -> np.ndarray:
    """float32 [layers, turns], cell (layer, turn) = layer + turn / 100, turned to silence before turn 5."""
    grid = np.arange(LAYERS)[:, None] + np.arange(turns)[None] / 100
    return np.where(np.arange(turns) < 5, -1 - grid, grid).astype(np.float32)


def attribution_of(turns: int) -> Attribution:
    """Part k adds k / 10 at even turns and takes that away at odd ones."""
    labels = ("embed", *PARTS)
    values = (np.arange(len(labels))[:, None] / 10 * (1 - 2 * (np.arange(turns) % 2))[None]).astype(np.float32)
    return Attribution(labels, values, values.sum(0))


def sweep_of(turn: int) -> Sweep:
    """Layers by the turns 1..turn; all of the decision comes back from layer 1 at the last but one turn."""
    turns = list(range(min(turn, 1), turn + 1))
    grid = np.zeros((LAYERS, len(turns)), np.float32)
    grid[1, -2:-1] = 0.9
    return Sweep(grid, tuple(f"L{n}" for n in range(LAYERS)), tuple(f"turn {n}" for n in turns), 2.0, -3.0, turn)


def heads_of() -> Sweep:
    grid = np.array([[0.1, -0.2], [0.0, 0.7], [0.3, 0.0]], np.float32)
    return Sweep(grid, ("L0", "L1", "L2"), ("H0", "H1"), 2.0, -3.0, 6)


def attention_of(turns: int, by: str = "stream", lags: int = 8) -> xr.DataArray:
    """Shares 0.5, 0, 0.3, 0.2, 0 of the streams in order; all of a turn's typed half at lag 3, the rest at lag 0."""
    share = np.array([0.5, 0, 0.3, 0.2, 0], np.float32)
    when = {"query_turn": ("query", np.arange(turns)), "query_t": ("query", np.arange(turns) / 5 + 0.15)}
    coords = {"layer": list(range(LAYERS)), "head": list(range(HEADS)), "query": np.arange(turns) * 5, **when}
    values = np.broadcast_to(share, (LAYERS, HEADS, turns, 5)).copy()
    coords["stream"] = list(STREAMS)
    if by == "stream":
        return xr.DataArray(values, dims=("layer", "head", "query", "stream"), coords=coords)
    lagged = np.zeros((*values.shape, lags), np.float32)
    lagged[..., 0] = values
    lagged[:, :, 3:, 0, 0], lagged[:, :, 3:, 0, 3] = 0, 0.5
    axes = ("layer", "head", "query", "stream", "lag")
    return xr.DataArray(lagged, dims=axes, coords={**coords, "lag": list(range(lags))})


def pattern_of(recording: Recording, turn: int) -> xr.DataArray:
    """From the decision of a turn and the one before; the sharper look is back at the recording's second position."""
    table = recording.tokens
    rows = np.array([table.where("audio_in", n)[-1] for n in range(max(0, turn - 1), turn + 1)], int)
    weights = np.full((len(rows), len(table)), 0.01, np.float32)
    weights[-1, 1] = 0.8
    coords = {"query": rows, "key": np.arange(len(table))}
    return xr.DataArray(weights, dims=("query", "key"), coords=coords, name="L1H0 pattern of decision")


def ablation_of() -> xr.Dataset:
    """Part k changes turns in which speech begins by k / 10, others not at all."""
    change = np.zeros((len(PARTS), 2))
    change[:, 1] = np.arange(len(PARTS)) / 10
    axes = ("part", "kind")
    data = {"change": (axes, change), "moved": (axes, change), "flipped": (axes, change)}
    return xr.Dataset(data, {"part": PARTS, "kind": ["silent", "begins"]})


def parts_of(turns: int) -> xr.DataArray:
    """Patches from turn 1 on: the last part but one brings all back at the last turn."""
    values = np.zeros((len(PARTS), max(turns - 1, 0)), np.float32)
    values[-2, -1:] = 1
    return xr.DataArray(values, {"part": PARTS, "patched": np.arange(1, max(turns, 1))}, ("part", "patched"))


def shares_of(turns: int) -> xr.DataArray:
    """As `routing(cache, "turn").sel(layer=[2])` gives it."""
    values = routing_of(turns).T[None]
    coords = {"layer": [2], "expert": ["E0", "E1", "E2", "S0"], "turn": np.arange(turns)}
    return xr.DataArray(values, coords, ("layer", "expert", "turn"))


def routing_of(turns: int) -> np.ndarray:
    """float32 [turns, experts]: expert `turn % 4` has 0.7, the others 0.1."""
    return np.where(np.arange(EXPERTS)[None] == (np.arange(turns) % EXPERTS)[:, None], 0.7, 0.1).astype(np.float32)


def _probe(recording: Recording) -> go.Figure:
    clock = np.arange(recording.turns) / 5
    return plots.plot_probe(recording, clock + 0.1, control=clock * 0, truth=clock, name="time", unit="s")


def _cka() -> go.Figure:
    return plots.plot_cka(np.exp(-np.outer([1, 2], np.arange(5))), ["L0", "L1"], shuffled=np.full((2, 5), 0.1))


def _aligned() -> go.Figure:
    rows = np.array([[1, 1, 0.5, 0], [1, 0.8, 0.1, np.nan]])
    return plots.plot_aligned([-1, 0, 1, 2], {"broken in": rows, "steady": np.ones((3, 4))}, "reading", "they break in")


def _dose() -> go.Figure:
    random = np.random.default_rng(0).normal(size=(5, 3))
    return plots.plot_dose([1, -1, 0], np.array([2, -2, 0]), random, name="patience")


def _circuit() -> go.Figure:
    edges = [("embed", "L0H1", 1.0), ("L0H1", "L2E3", -0.2), ("L2E3", "decision", -1.0)]
    return plots.plot_circuit(PARTS, {"L0H1": 0.5, "L2E3": -1.0}, edges)


def silenced(recording: Recording, turn: int = 7) -> Recording:
    """A child that is silent from a turn on."""
    gone = [n >= turn for n in range(recording.turns)]
    decisions = tuple("<silent>" if off else name for off, name in zip(gone, recording.decisions, strict=True))
    words = tuple(() if off else some for off, some in zip(gone, recording.words, strict=True))
    p_speak = np.where(gone, 0.05, recording.p_speak).astype(np.float32)
    return replace(recording, decisions=decisions, words=words, p_speak=p_speak)


def cause_of(recording: Recording) -> Cause:
    """Turns 3 and 4 are found for turn 7."""
    child = silenced(recording).until(min(8, recording.turns))
    return Cause(7, tuple(n for n in (3, 4) if n < recording.turns), child, diff(recording, child), 9, True)


def outcomes_of(recording: Recording) -> list[Outcome]:
    """Without "five" it is silent in turn 7, without "two" as it was."""
    found = []
    for word, child in (("five", silenced(recording)), ("two", recording)):
        variant = Variant(f"without {word!r}", 3, recording.inputs)
        found.append(Outcome(variant, child, diff(recording, child)))
    return found


def probes_of() -> dict[int, Probe]:
    """Layer n scores 0.5 + n / 10, its control 0.1; a push moves 2 logits, random ones 0.5."""
    causal = CausalCheck(
        (-2.0, 2.0), np.array([-4.0, 4.0]), np.zeros(2), np.array([[-1.0, 1.0]]), np.zeros((1, 2)), 1.0, np.ones(1), 9
    )
    rivals = {name: Score(0.2, 0.1, 0.3) for name in ("embedding", "turn number")}
    readout = Readout(np.ones((2, 1)), np.zeros(1), None)
    return {
        n: Probe("since_asked", n, readout, None, Score(0.5 + n / 10, 0.4, 0.9), Score(0.1, 0.0, 0.2), rivals, causal,
                 np.ones(2), (50, 30))
        for n in range(LAYERS)
    }  # fmt: skip


def kept_of(share: float) -> Preserved:
    kinds = {"silent": 1.0, "begins": share, "speaks": share, "ends": float("nan")}
    return Preserved(0.9, (1 + share) / 2, kinds, {"silent": 40, "begins": 4, "speaks": 9, "ends": 0})


def _result(name: str) -> go.Figure:
    """The results that have a figure of their own."""
    pair = np.array([0.0, 0.2, 0.5])
    rows = np.array([[1, 1, 0.5, 0], [1, 0.8, 0.1, np.nan]])
    return {
        "dose response": lambda: plots.plot_dose_response(
            DoseResponse("patience", (-1.0, 0.0, 1.0), pair, pair / 5, pair[None] / 9, pair[None] / 9, (20, 30))
        ),
        "lag curve": lambda: plots.plot_lag_curve(LagCurve((-1, 0, 1), pair + 0.3, pair[None] / 2)),
        "inertia": lambda: plots.plot_inertia(
            Inertia((-1, 0, 1, 2), rows, rows > 0.5, np.ones((3, 4)), np.array([2, 1]), np.array([2, 1]), 0.9)
        ),
        "listening": lambda: plots.plot_listening(ListeningHeads(rows[None, :, :2], rows[None, :, :2])),
        "rises": lambda: plots.plot_rises([Rise(9, 0.8, 0.1, 0.5, 0.9), Rise(4, 0.3, 0.2, -0.1, 0.3)]),
        "probes": lambda: plots.plot_probes(probes_of()),
        "preserved": lambda: plots.plot_preserved({"9 parts": kept_of(0.1), "60 parts": kept_of(0.9)}),
    }[name]()


RESULTS = ("dose response", "lag curve", "inertia", "listening", "rises", "probes", "preserved")
FEATURES = [f"feature {n}" for n in range(EXPERTS)]
OVER_TIME: dict[str, Callable[[Recording], go.Figure]] = {
    "timeline": timeline,
    "decisions": lambda r: plots.plot_decisions(r, decisions_of(r), r.words),
    "lens": lambda r: plots.plot_lens(r, lens_of(r.turns)),
    "attribution": lambda r: plots.plot_attribution(r, attribution_of(r.turns)),
    "sweep": lambda r: plots.plot_sweep(sweep_of(max(r.turns - 1, 0)), r),
    "attention": lambda r: plots.plot_attention(r, attention_of(r.turns)),
    "routing": lambda r: plots.plot_routing(r, routing_of(r.turns)),
    "routing of a layer": lambda r: plots.plot_routing(r, shares_of(r.turns)),
    "parts": lambda r: plots.plot_parts(r, parts_of(r.turns)),
    "probe": _probe,
    "features": lambda r: plots.plot_features(r, routing_of(r.turns), FEATURES),
    "divergence": lambda r: plots.plot_divergence(r, silenced(r)),
    "cause": lambda r: plots.plot_cause(r, cause_of(r)),
    "linked": lambda r: LinkedTracks(r).add(plots.lens_track(lens_of(r.turns))).figure(),
}
"""Every figure that stands on the time axis, of a recording of any length."""
OF_MOMENTS: dict[str, Callable[[Recording], go.Figure]] = {
    "waterfall": lambda r: plots.plot_attribution_turn(attribution_of(r.turns), 6),
    "heads": lambda r: plots.plot_sweep(heads_of()),
    "lag": lambda r: plots.plot_attention_lag(attention_of(r.turns, "lag")),
    "pattern": lambda r: plots.plot_pattern(pattern_of(r, 6), r.tokens),
    "experts": lambda r: plots.plot_expert_use(routing_of(3), ["heard", "seen", "said"]),
    "cka": lambda r: _cka(),
    "aligned": lambda r: _aligned(),
    "listening heads": lambda r: plots.plot_heads(np.array([[0.1, -0.2], [0.5, 0]]), "listening score"),
    "ablation": lambda r: plots.plot_ablation(ablation_of(), "begins"),
    "dose": lambda r: _dose(),
    "ranking": lambda r: plots.plot_ranking(PARTS, np.arange(len(PARTS)) - 9.0, np.ones(len(PARTS)), n=5),
    "circuit": lambda r: _circuit(),
    "outcomes": lambda r: plots.plot_outcomes(r, outcomes_of(r), 7),
    **{name: (lambda r, name=name: _result(name)) for name in RESULTS},
}
"""The figures whose axis is not time."""
