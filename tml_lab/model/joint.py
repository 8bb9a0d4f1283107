"""Several sessions' tokens through one model in one call, each with the bits that it has alone.

The kernels of `decode` on rows of several sequences: weights are read once for all of them, and no number of a row
depends on the other rows. Where they cannot take it (a GPU, a hook, an edit), nothing here applies: ask before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from tml_lab.model.decode import Places, fused_steps, inside, run_block, runs_fused
from tml_lab.model.state import MAX_CHUNK, State
from tml_lab.model.tap import Tap

if TYPE_CHECKING:
    from tml_lab.model.interaction import InteractionModel

Taps = Mapping[int, Tap] | None
"""A session's taps, by layer."""


def can_append_jointly(model: InteractionModel, x: Tensor) -> bool:
    """Whether `x [1, n, d_model]` may go through the model beside other sessions' tokens.

    Only where calling the model is nothing but the kernels and the final norm: nobody listens to any module.
    """
    backbone = model.backbone
    few = x.shape[0] == 1 and 0 < x.shape[1] <= MAX_CHUNK
    by_kernels = (backbone.fused or backbone.deterministic) and backbone.cfg.n_dense_layers == 0
    if not (few and by_kernels and runs_fused(backbone, x)):
        return False
    return not any(_is_heard(module) for module in (model, backbone, *backbone.blocks))


def append_jointly(
    model: InteractionModel, xs: Sequence[Tensor], states: Sequence[State], taps: Sequence[Taps] = ()
) -> list[Tensor]:
    """Append each `x [1, n, d_model]` to its own state -> the hidden states that `model(x, state)` gives.

    All must have passed `can_append_jointly`, and no two states share memory. `taps`, none or one for each session, as
    the model takes them; they `only_listen`.
    """
    backbone, counts = model.backbone, [x.shape[1] for x in xs]
    resid = np.concatenate([x[0].numpy() for x in xs])  # [all n, d_model]
    kept, places = inside(backbone), Places(states, counts)
    nobody = np.zeros((backbone.cfg.n_heads, len(resid), 0), np.float32)  # asks for patterns
    for layer, block in enumerate(backbone.blocks):
        _show(taps, layer, "resid_pre", resid, places)
        run_block(block, resid, places, kept, nobody)
        _show(taps, layer, "resid_post", resid, places)
    places.move_on()
    hidden = backbone.norm(torch.from_numpy(resid)[None])  # [1, all n, d_model]
    return list(hidden.split(counts, dim=1))


def _show(taps: Sequence[Taps], layer: int, name: str, resid: np.ndarray, places: Places) -> None:
    """Each session's rows of `resid [all n, d_model]` to the tap that it has at this layer."""
    for own, start, end in zip(taps, places.first, places.first[1:], strict=False):
        if own and layer in own and own[layer].want(name):
            own[layer].look(name, torch.from_numpy(resid[start:end].copy())[None])  # [1, n, d_model]


def can_draw_jointly(model: InteractionModel, noise: Tensor) -> bool:
    """Whether the flow head may draw the token of `noise [1, n_out]` beside other sessions' tokens."""
    head = model.flow
    return len(noise) == 1 and head.fused and "sample" not in head.__dict__ and runs_fused(head, noise)


def draw_jointly(model: InteractionModel, hidden: Tensor, noise: Tensor) -> Tensor:
    """`FlowHead.sample` for one token of each session: `hidden [N, d_model]`, `noise [N, n_out]` -> `[N, n_out]`."""
    steps = model.cfg.flow_steps
    times = torch.arange(steps, dtype=noise.dtype) / steps
    return fused_steps(model.flow, noise * model.cfg.flow_temperature, hidden, times)


def _is_heard(module: nn.Module) -> bool:
    """Whether calling the module is more than its class says: somebody listens, or replaced its `forward`."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)
