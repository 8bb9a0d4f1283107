"""From one layer's residual stream onwards: what the decisions become when it is other than it was.

Only the layers after the change are computed, many changes in one batch. What was said and heard stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.interp.names import InterpError, check_layer, full_name
from tml_lab.interp.patching import logit_difference
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording

ROWS = 1024  # positions in one forward


def resid_of(model: InteractionModel, tokenizer: TextTokenizer, recording: Recording, layer: int) -> Cache:
    """A cache that holds the residual stream after one layer and no more. Raises as `run_with_cache`."""
    check_layer(model.cfg, layer)
    return run_with_cache(model, tokenizer, recording, [full_name("resid_post", layer)])


@torch.no_grad()
def logits_onward(cache: Cache, layer: int, x: Tensor) -> Tensor:
    """Text logits at each turn's decision when the residual stream after `layer` is `x`.

    Args:
        x: float32 [rows, positions, d_model], any number of changed streams.

    Returns float32 [rows, turns, vocab]; with `cache["resid_post", layer]` as the only row, the model's own to
    rounding.
    """
    return _onward(cache, layer, x)


def gradient_onward(cache: Cache, layer: int) -> Tensor:
    """How a push of the residual stream after `layer`, where decisions are made, moves the sum of all wishes to speak.

    A wish is `<speak>` less `<silent>`; a push moves its own turn's and those of later turns that look back.

    Returns float32 [turns, d_model]. Raises InterpError when the model is deterministic.
    """
    if cache.model.deterministic:
        raise InterpError("the exact kernels have no gradient inside: set model.deterministic = False for it.")
    with torch.enable_grad():
        x = cache["resid_post", layer].detach().clone().requires_grad_()  # [positions, d_model]
        total = logit_difference(_onward(cache, layer, x[None]), cache).sum()
        (gradient,) = torch.autograd.grad(total, x)
    return gradient[torch.as_tensor(cache.decision_positions, device=x.device)]


def _onward(cache: Cache, layer: int, x: Tensor) -> Tensor:
    model = cache.model
    at = torch.as_tensor(cache.decision_positions, device=x.device)
    pos = torch.arange(x.shape[1], device=x.device)[None]
    out = []
    for some in x.split(max(1, ROWS // x.shape[1])):
        for block in model.backbone.blocks[layer + 1 :]:
            some = block(some, None, pos)
        out.append(model.text_logits(model.backbone.norm(some[:, at])).float())
    return torch.cat(out)  # [rows, turns, vocab]


def decide_onward(cache: Cache, layer: int, changes: Sequence[Tensor], everywhere: bool = False) -> Tensor:
    """`<speak>` less `<silent>` of every turn, with each change added to the residual stream after `layer`.

    Args:
        changes: each `[d_model]`, or `[turns, d_model]` to differ by turn.
        everywhere: add it at all positions of a turn; otherwise only where the decision is made.

    Returns float32 [changes, turns].
    """
    resid = cache["resid_post", layer]  # [positions, d_model]
    at = torch.as_tensor(cache.decision_positions, device=resid.device)
    turn = torch.as_tensor(cache.tokens.turn.astype("int64"), device=resid.device)
    rows = []
    for change in changes:
        per_turn = change.to(resid).expand(cache.turns, -1)  # [turns, d_model]
        x = resid + per_turn[turn] if everywhere else resid.index_add(0, at, per_turn)
        rows.append(logit_difference(logits_onward(cache, layer, x[None]), cache))
    return torch.cat(rows)  # [changes, turns]
