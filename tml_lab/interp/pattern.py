"""Attention patterns, computed from q and k when they are asked for.

All patterns of a minute with the camera on are gigabytes; q and k are tens of megabytes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tml_lab.interp.names import InterpError
from tml_lab.model.backbone import Block
from tml_lab.model.interaction import InteractionModel

MAX_BYTES = 4 << 30  # of patterns at once


@torch.no_grad()
def pattern_rows(
    model: InteractionModel, layer: int, resid_pre: Tensor, q: Tensor, k: Tensor, queries: np.ndarray | None = None
) -> Tensor:
    """What some positions of an offline pass attend to: float32 [heads, queries, positions].

    Args:
        resid_pre: [positions, d_model]; q: [positions, heads, d_head]; k: [positions, kv_heads, d_head].
        queries: int64 [queries]; None: all positions.

    Equal to the pass's own up to rounding (1e-6). Raises InterpError for more than 4 GiB.
    """
    block = model.backbone.blocks[layer]
    assert isinstance(block, Block)
    pos = torch.arange(len(q), device=q.device) if queries is None else torch.tensor(queries, device=q.device)
    if (size := q.shape[1] * len(pos) * len(q) * 4) > MAX_BYTES:
        raise InterpError(
            f"layer {layer}'s pattern from {len(pos)} to {len(q)} positions takes {size / 2**30:.0f} GiB: ask for "
            "fewer queries, cache.pattern(layer, queries)."
        )
    x = block.attn_norm(resid_pre[pos])  # [queries, d_model]
    return block.attn.pattern_of(x[None], q[pos][None], k[None], pos[None])[0]  # [heads, queries, positions]
