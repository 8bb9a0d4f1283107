"""Direct logit attribution: what each head and each expert adds to `<speak>` less `<silent>`, and nothing is left over.

The final norm divides by one number a position; with that number held fixed the logit difference is a sum over all
that was ever added to the residual stream: the embedding, each head, each expert. ShortConvs are linear, so what a head
or an expert gave to the three positions before arrives through them as well.
Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; TransformerLens' `logit_attrs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tml_lab.interp.cache import EMBED, Cache
from tml_lab.interp.components import Parts, block_of, head_outputs_at, mlp_outputs_at
from tml_lab.interp.decision import decision, decision_direction
from tml_lab.interp.names import InterpError, check_turn
from tml_lab.model.short_conv import ShortConv


@dataclass(frozen=True, eq=False)
class Attribution:
    """The logit difference of each turn's decision, by what added it.

    Args:
        labels: `embed`; `L3H2` for head 2 of layer 3; `L3E7` for its expert 7, `L3S0` for its shared expert 0, `L3M`
            for a dense MLP.
        values: float32 [components, turns], in the order of the labels.
        logit_difference: float32 [turns], the model's own; the values of a turn sum to it, to 1e-5 and to as much
            again as float32 logits of that size are rounded by.
    """

    labels: tuple[str, ...]
    values: np.ndarray
    logit_difference: np.ndarray

    def __getitem__(self, label: str) -> np.ndarray:
        """One component over the turns: float32 [turns]. Raises InterpError naming the labels of its layer."""
        if label not in self.labels:
            near = [known for known in self.labels if known.startswith(label[:2])]
            raise InterpError(f"no component is called {label!r}; of its layer there are {', '.join(near) or 'none'}.")
        return self.values[self.labels.index(label)]

    def top(self, turn: int, n: int = 8) -> list[tuple[str, float]]:
        """The `n` components that moved a turn's decision most, the largest first; either way. Raises InterpError for a
        turn that is not there."""
        check_turn(self.values.shape[1], turn)
        order = np.argsort(-np.abs(self.values[:, turn]), kind="stable")[:n]
        return [(self.labels[i], float(self.values[i, turn])) for i in order]


@torch.no_grad()
def attribute_decision(cache: Cache) -> Attribution:
    """Attribute every turn's decision.

    Needs `hook_embed`, and each layer's `z`, `resid_mid`, `resid_post` and weights of experts in the cache. Raises
    InterpError naming one that was not kept.
    """
    model = cache.model
    at = torch.as_tensor(cache.decision_positions, device=cache.logits.device)
    last = cache["resid_post", model.cfg.n_layers - 1][at]  # [turns, d_model]
    norm = model.backbone.norm
    scale = (last.float().square().mean(-1, keepdim=True) + norm.eps).rsqrt()  # [turns, 1]
    direction = decision_direction(model, cache.tokenizer) * norm.weight.float() * scale  # [turns, d_model]
    parts = [cache[EMBED][at][:, None]]  # each [turns, parts, d_model]
    for layer in range(model.cfg.n_layers):
        block = block_of(model, layer)
        parts.append(_arriving(at, block.attn_conv, lambda rows, layer=layer: head_outputs_at(cache, layer, rows)))
        parts.append(_arriving(at, block.mlp_conv, lambda rows, layer=layer: mlp_outputs_at(cache, layer, rows)))
    values = torch.cat([(part.double() * direction[:, None].double()).sum(-1) for part in parts], 1).T
    labels = ("embed", *Parts(model.cfg).labels)
    return Attribution(labels, values.float().cpu().numpy(), decision(cache).logit_difference)


def _arriving(at: Tensor, conv: ShortConv, outputs_at: Callable[[Tensor], Tensor]) -> Tensor:
    """What the parts of a branch give to the positions `at [turns]` through its ShortConv: `[turns, parts, d_model]`.

    `outputs_at(positions [n])` says what they add before it, `[n, parts, d_model]`; before the first position nothing.
    """
    where = at[:, None] + torch.arange(1 - conv.kernel, 1, device=at.device)  # [turns, kernel]: those it reaches
    outputs = outputs_at(where.clamp(min=0).flatten()).unflatten(0, where.shape)  # [turns, kernel, parts, d_model]
    outputs = outputs * (where >= 0)[..., None, None]
    return outputs[:, -1] + torch.einsum("tkpd,dk->tpd", outputs, conv.weight.float())
