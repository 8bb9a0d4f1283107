"""Attention by stream and time: where heads look from a turn's decision, pooled as a person would read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tml_lab.interp.address import At
from tml_lab.interp.cache import Cache
from tml_lab.interp.names import InterpError, check_head, check_turn
from tml_lab.stream.tokens import STREAMS

Pool = Literal["stream", "turn", "stream_turn", "lag"]


def attention_by(
    cache: Cache,
    by: Pool = "stream",
    layer: int | Sequence[int] | None = None,
    head: int | None = None,
    of: str = "decision",
    **when: object,
) -> xr.DataArray:
    """Attention of every head, summed over the keys of each stream, each turn, both, or each stream and lag in turns.

    Args:
        by: `"stream"` gives `[layer, head, query, stream]`; `"turn"` `[layer, head, query, turn]`; `"stream_turn"`
            `[layer, head, query, stream, turn]`; `"lag"` `[layer, head, query, stream, lag]`, lag 0 the query's turn.
        layer, head: all by default. Layers must have as many heads as each other.
        of: whose attention: `"decision"`, `"all"`, or a stream.
        when: `t`, `turn`, `clock` of the queries, as in `At`.

    Each query's weights sum to 1. Raises InterpError for what is not there.
    """
    if by not in get_args(Pool):
        raise InterpError(f"attention is not pooled by {by!r}; choose {', '.join(get_args(Pool))}.")
    cfg = cache.model.cfg
    layers = list(range(cfg.n_layers)) if layer is None else [layer] if isinstance(layer, int) else list(layer)
    if head is not None:
        for each in layers:
            check_head(cfg, each, head)
    where = At.read("pattern", of=of, **when)
    queries = where.positions(cache.tokens)
    if not len(queries):
        raise InterpError(f"there is nothing of {where.of} at that time, so nothing that could look at anything.")
    table, cell, shape = cache.tokens, *_cells(cache, by)
    found = []
    for each in layers:
        # a slice keeps the axis of heads
        pattern = cache.pattern(each, queries)[slice(None) if head is None else slice(head, head + 1)]
        pooled = pool(pattern, torch.as_tensor(cell, device=pattern.device), int(np.prod(shape)))
        found.append(pooled.unflatten(2, shape).cpu().numpy())
    values = np.stack(found)  # [layers, heads, queries, *shape]
    if by == "lag":
        values = _lagged(values, table.turn[queries])
    dims, coords = _axes(by, values.shape[3:])
    heads = list(range(values.shape[1])) if head is None else [head]
    when = {"query_turn": ("query", table.turn[queries]), "query_t": ("query", table.starts[queries])}
    coords = {"layer": layers, "head": heads, "query": queries, **when, **coords}
    return xr.DataArray(values, dims=("layer", "head", "query", *dims), coords=coords, name="attention")


def pool(pattern: Tensor, cell: Tensor, n_cells: int) -> Tensor:
    """Weights `[heads, queries, keys]` summed over the keys of each cell, `cell [keys]`: `[heads, queries, cells]`."""
    pooled = torch.zeros(*pattern.shape[:2], n_cells, dtype=pattern.dtype, device=pattern.device)
    return pooled.index_add_(2, cell, pattern)


def _cells(cache: Cache, by: Pool) -> tuple[np.ndarray, tuple[int, ...]]:
    """The cell of each key, int64 [positions], and the shape of the cells."""
    stream, turn = cache.tokens.stream.astype(np.int64), cache.tokens.turn.astype(np.int64)
    if by == "stream":
        return stream, (len(STREAMS),)
    if by == "turn":
        return turn, (cache.turns,)
    return stream * cache.turns + turn, (len(STREAMS), cache.turns)


def _lagged(values: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """`[..., query, stream, turn]` -> `[..., query, stream, lag]`."""
    lag = turns[:, None] - np.arange(values.shape[-1])  # [query, lag] -> the turn it stands for
    taken = np.take_along_axis(values, np.maximum(lag, 0)[None, None, :, None, :], -1)
    return np.where(lag[:, None, :] >= 0, taken, 0.0).astype(np.float32)


def _axes(by: Pool, shape: tuple[int, ...]) -> tuple[tuple[str, ...], dict[str, list]]:
    """Names and labels of the pooled axes."""
    streams = {"stream": list(STREAMS)}
    if by == "stream":
        return ("stream",), streams
    if by == "turn":
        return ("turn",), {"turn": list(range(shape[0]))}
    last = "lag" if by == "lag" else "turn"
    return ("stream", last), {**streams, last: list(range(shape[1]))}


def attention_by_stream(cache: Cache, layer: int, head: int, turn: int) -> dict[str, np.ndarray]:
    """Where one head looked from a turn's decision, pooled over the positions of each stream and turn.

    Returns {stream: float32 [turn + 1]}, column n the weight on turn n; all of it sums to 1. The same numbers
    as `TurnResult.attention` of a session that watched this head.

    Raises InterpError for a layer, head or turn that is not there.
    """
    check_head(cache.model.cfg, layer, head)
    check_turn(cache.turns, turn)
    found = attention_by(cache, "stream_turn", layer, head, turn=turn)[0, 0, 0, :, : turn + 1]  # [stream, turn + 1]
    return dict(zip(STREAMS, found.values, strict=True))
