"""The decision, turn by turn: how strongly the model wanted to speak, and in which layer it came to want it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tml_lab.interp.cache import Cache
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import DECISIONS, SILENT, SPEAK, TextTokenizer


@dataclass(frozen=True, eq=False)
class Decisions:
    """What the model decided, from the hidden state at each turn's last heard frame.

    Args:
        names: the likeliest decision token of each turn.
        p_speak: float32 [turns], probability of `<speak>` among the decision tokens.
        logit_difference: float32 [turns], logit of `<speak>` less logit of `<silent>`.
        logits: float32 [turns, decisions], in the order of `tml_lab.model.text.DECISIONS`.
    """

    names: tuple[str, ...]
    p_speak: np.ndarray
    logit_difference: np.ndarray
    logits: np.ndarray


def _decision_logits(cache: Cache, logits: Tensor) -> Tensor:
    """`[turns, vocab]` -> `[turns, decisions]`."""
    return logits[:, [cache.tokenizer.id(name) for name in DECISIONS]]


def _difference(logits: Tensor) -> Tensor:
    """`[turns, decisions]` -> `[turns]`."""
    return logits[:, DECISIONS.index(SPEAK)] - logits[:, DECISIONS.index(SILENT)]


@torch.no_grad()
def decision(cache: Cache) -> Decisions:
    """The decision of every turn."""
    at = torch.as_tensor(cache.decision_positions, device=cache.logits.device)
    logits = _decision_logits(cache, cache.logits[at])  # [turns, decisions]
    return Decisions(
        names=tuple(DECISIONS[best] for best in logits.argmax(-1).tolist()),
        p_speak=logits.softmax(-1)[:, DECISIONS.index(SPEAK)].cpu().numpy(),
        logit_difference=_difference(logits).cpu().numpy(),
        logits=logits.cpu().numpy(),
    )


@torch.no_grad()
def decision_lens(cache: Cache) -> np.ndarray:
    """`<speak>` less `<silent>`, as if the model ended after each layer: float32 [layers, turns].

    The logit lens (nostalgebraist 2020): the residual stream after each layer goes through the final norm
    and the unembedding. The last row is the model's own logit difference; earlier rows are read with a norm
    trained for the last layer, so compare turns within a row rather than rows with each other.

    Raises InterpError when the cache was made without `resid_post`.
    """
    model, norm = cache.model, cache.model.backbone.norm
    direction, rows = decision_direction(model, cache.tokenizer), []
    for layer in range(model.cfg.n_layers):
        resid = cache["resid_post", layer]  # [positions, d_model]
        at = torch.as_tensor(cache.decision_positions, device=resid.device)
        rows.append(lens_difference(resid[at], norm.weight, norm.eps, direction))
    return torch.stack(rows).cpu().numpy()  # [layers, turns]


def decision_direction(model: InteractionModel, tokenizer: TextTokenizer) -> Tensor:
    """The unembedding's row of `<speak>` less that of `<silent>`: float32 [d_model]."""
    speak, silent = (model.unembed.weight[tokenizer.id(name)].float() for name in (SPEAK, SILENT))
    return (speak - silent) / model.cfg.mup_width_multiplier


def lens_difference(resid: Tensor, norm_weight: Tensor, eps: float, direction: Tensor) -> Tensor:
    """A residual stream `[n, d_model]` through the final RMS norm, along a direction `[d_model]`: float32 [n]."""
    scale = (resid.float().square().mean(-1) + eps).rsqrt()  # [n]
    return scale * (resid.float() @ (norm_weight.float() * direction))
