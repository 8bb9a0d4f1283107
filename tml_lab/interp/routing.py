"""Router views: which experts serve listening, seeing and talking, and which are asked when speech is decided on.

    routing(cache, "stream").sel(layer=3, stream="audio_in")       each expert's share of the weight there
    routing(cache, "turn").sel(layer=3, expert="E7")               the same over time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tml_lab.interp.cache import Cache
from tml_lab.interp.names import InterpError
from tml_lab.model.text import DECISIONS
from tml_lab.stream.tokens import STREAMS

View = Literal["stream", "decision", "turn", "stream_turn"]


def shares(cache: Cache, layer: int) -> Tensor:
    """Of each position's weight, the share of each expert (routed ones first, then shared ones): float32 [positions,
    experts], rows sum to 1.

    Needs the layer's `experts`, `expert_weights`, `shared_weights`. Raises InterpError for a dense layer.
    """
    if layer < cache.model.cfg.n_dense_layers:
        raise InterpError(f"layer {layer} has a dense MLP: no router, no experts.")
    chosen, weights, shared = (cache[name, layer] for name in ("experts", "expert_weights", "shared_weights"))
    routed = weights.new_zeros(len(weights), cache.model.cfg.n_experts).scatter_(1, chosen, weights)
    both = torch.cat([routed, shared], 1)  # [positions, experts]
    return both / both.sum(1, keepdim=True)


def routing(cache: Cache | Sequence[Cache], by: View = "stream") -> xr.DataArray:
    """Mean share of the weight of every expert.

    Args:
        cache: one recording's, or several of one model's, whose positions are counted together (not over turns).
        by: `"stream"` gives `[layer, expert, stream]`; `"decision"` `[layer, expert, decision]`, at the positions that
            decide, by what the model decided; `"turn"` `[layer, expert, turn]`; `"stream_turn"` `[layer, expert,
            stream, turn]`.

    Experts are called `E0`, ..., and the shared ones `S0`, .... NaN where there are no such positions. Raises
    InterpError without caches, for several over turns, and for a view there is not.
    """
    caches = [cache] if isinstance(cache, Cache) else list(cache)
    if not caches:
        raise InterpError("routing needs at least one cache.")
    if by not in ("stream", "decision", "turn", "stream_turn"):
        raise InterpError(f"no view is called {by!r}; choose stream, decision, turn or stream_turn.")
    if "turn" in by and len(caches) > 1:
        raise InterpError(f"the turns of {len(caches)} recordings are not the same turns: give one cache.")
    cfg = caches[0].model.cfg
    layers = list(range(cfg.n_dense_layers, cfg.n_layers))
    axes = _axes(caches[0], by)
    n_cells = int(np.prod([len(labels) for labels in axes.values()]))
    sums = np.zeros((len(layers), cfg.n_experts + cfg.n_shared_experts, n_cells))
    counts = np.zeros(n_cells)
    for each in caches:
        rows, cell = _cells(each, by)
        counts += np.bincount(cell, minlength=n_cells)
        for n, layer in enumerate(layers):
            part = shares(each, layer)[torch.as_tensor(rows)].double().cpu().numpy()  # [rows, experts]
            np.add.at(sums[n].T, cell, part)
    with np.errstate(invalid="ignore"):
        values = (sums / counts).astype(np.float32).reshape(*sums.shape[:2], *map(len, axes.values()))
    experts = [f"E{e}" for e in range(cfg.n_experts)] + [f"S{s}" for s in range(cfg.n_shared_experts)]
    coords = {"layer": layers, "expert": experts, **axes}
    return xr.DataArray(values, coords, ("layer", "expert", *axes), "share")


def _axes(cache: Cache, by: View) -> dict[str, list]:
    turns, streams = list(range(cache.turns)), list(STREAMS)
    if by == "stream_turn":
        return {"stream": streams, "turn": turns}
    return {by: {"stream": streams, "decision": list(DECISIONS), "turn": turns}[by]}


def _cells(cache: Cache, by: View) -> tuple[np.ndarray, np.ndarray]:
    """The positions counted, and the cell of each: int64 [rows] twice."""
    table = cache.tokens
    stream, turn = table.stream.astype(np.int64), table.turn.astype(np.int64)
    if by == "decision":
        rows = cache.decision_positions
        ids = [cache.tokenizer.id(name) for name in DECISIONS]
        return rows, cache.logits[torch.as_tensor(rows)][:, ids].argmax(-1).cpu().numpy()
    cell = {"stream": stream, "turn": turn, "stream_turn": stream * cache.turns + turn}[by]
    return np.arange(len(table)), cell
