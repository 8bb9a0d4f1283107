"""Parts of a cache with names on their axes: what `Cache.at` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tml_lab.interp.address import OF_HEADS, At
from tml_lab.stream.tokens import STREAMS

if TYPE_CHECKING:
    from tml_lab.interp.cache import Cache


def labelled(cache: Cache, at: At) -> xr.DataArray:
    """What the cache holds at an address, with names on its axes and streams, turns and seconds on its positions."""
    full = at.full_name(cache.model.cfg)
    table, rows = cache.tokens, at.positions(cache.tokens)
    along = {"turn": table.turn, "t": table.starts, "stream": np.array(STREAMS)[table.stream]}
    if at.hook == "pattern":
        keys = at.positions(table, of_keys=True)
        values = cache.pattern(at.layer or 0, rows)[:, :, keys].cpu().numpy()  # [heads, queries, keys]
        dims = ("head", "query", "key")
        coords: dict[str, Any] = {"query": rows, "key": keys, "head": np.arange(len(values))}
        for axis, positions in (("query", rows), ("key", keys)):
            coords |= {f"{axis}_{name}": (axis, column[positions]) for name, column in along.items()}
    else:
        values = cache[full][rows].cpu().numpy()
        dims = ("position", *_inner(at.hook, values.ndim))
        coords = {"position": rows, **{name: ("position", column[rows]) for name, column in along.items()}}
    found = xr.DataArray(values, dims=dims, coords=coords, name=str(at))
    if at.expert is not None:  # its weight, 0 where it was not chosen
        chosen = cache["experts", at.layer or 0][rows].cpu().numpy() == at.expert
        return found.copy(data=np.where(chosen, values, 0)).sum("slot")
    unit = at.head if at.head is not None else at.shared
    return found if unit is None else found.isel({"head" if at.head is not None else "expert": unit})


def _inner(hook: str, ndim: int) -> tuple[str, ...]:
    """Names of the axes after the positions."""
    if hook in OF_HEADS:
        return "head", "d_head"
    if ndim == 2 and hook in ("experts", "expert_weights"):
        return ("slot",)
    return ("expert",) if hook == "shared_weights" else ("d_model",)
