"""Direct logit attribution: what each head and each expert adds to `<speak>` less `<silent>`, and nothing is left over.

The final norm divides by one number a position; with that number held fixed the logit difference is a sum over all
that was ever added to the residual stream: the embedding, each head, each expert. ShortConvs are linear, so what a head
or an expert gave to the three positions before arrives through them as well.
Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; TransformerLens' `logit_attrs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tml_kernels.experts import swiglu
from tml_lab.interp.cache import EMBED, Cache
from tml_lab.interp.decision import speak_direction
from tml_lab.model.backbone import Block
from tml_lab.model.moe import MoE
from tml_lab.model.short_conv import ShortConv
from tml_lab.model.text import SILENT, SPEAK


@dataclass(frozen=True, eq=False)
class Attribution:
    """The logit difference of each turn's decision, by what added it.

    Args:
        labels: `embed`; `L3H2` for head 2 of layer 3; `L3E7` for its expert 7, `L3S0` for its shared expert 0, `L3M`
            for a dense MLP.
        values: float32 [components, turns], in the order of the labels.
        logit_difference: float32 [turns], the model's own; the values of a turn sum to it.
    """

    labels: tuple[str, ...]
    values: np.ndarray
    logit_difference: np.ndarray

    def __getitem__(self, label: str) -> np.ndarray:
        """One component over the turns: float32 [turns]. Raises KeyError naming the labels of its layer."""
        if label not in self.labels:
            near = [known for known in self.labels if known.startswith(label[:2])]
            raise KeyError(f"no component is called {label!r}; of its layer there are {', '.join(near) or 'none'}.")
        return self.values[self.labels.index(label)]

    def top(self, turn: int, n: int = 8) -> list[tuple[str, float]]:
        """The `n` components that moved a turn's decision most, the largest first; either way."""
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
    ids = [cache.tokenizer.id(name) for name in (SPEAK, SILENT)]
    norm = model.backbone.norm
    scale = (last.float().square().mean(-1, keepdim=True) + norm.eps).rsqrt()  # [turns, 1]
    direction = speak_direction(cache) * norm.weight.float() * scale  # [turns, d_model]
    labels, parts = ["embed"], [cache[EMBED][at]]
    for layer in range(model.cfg.n_layers):
        for names, pieces, conv in (_heads(cache, layer, at), _mlp(cache, layer, at)):
            labels += names
            parts += [_arriving(piece, conv) for piece in pieces]
    values = torch.stack([(part.double() * direction.double()).sum(-1) for part in parts])  # [components, turns]
    own = cache.logits[at][:, ids].float()
    return Attribution(tuple(labels), values.float().cpu().numpy(), (own[:, 0] - own[:, 1]).cpu().numpy())


Branch = tuple[list[str], list[Tensor], ShortConv]
"""Labels of a branch's parts; each part `[turns, kernel, d_model]`; the ShortConv that they go through."""


def _block(cache: Cache, layer: int) -> Block:
    block = cache.model.backbone.blocks[layer]
    assert isinstance(block, Block)
    return block


def _window(at: Tensor, kernel: int) -> Tensor:
    """`[turns, kernel]`: the decision's position and those before it that a ShortConv reaches; below 0 is none."""
    return at[:, None] + torch.arange(1 - kernel, 1, device=at.device)


def _rows(x: Tensor, where: Tensor) -> Tensor:
    """`x [positions, ...]` at `where [turns, kernel]`, zeros before the first position: `[turns, kernel, ...]`."""
    found = x[where.clamp(min=0)]
    return found * (where >= 0).to(found.dtype).view(*where.shape, *[1] * (found.ndim - 2))


def _arriving(piece: Tensor, conv: ShortConv) -> Tensor:
    """What `piece [turns, kernel, d_model]` gives to its last position through a ShortConv: `[turns, d_model]`."""
    return piece[:, -1].float() + torch.einsum("tkd,dk->td", piece.float(), conv.weight.float())


def _heads(cache: Cache, layer: int, at: Tensor) -> Branch:
    """Each head's output before the ShortConv."""
    block = _block(cache, layer)
    z = _rows(cache["z", layer], _window(at, block.attn_conv.kernel))  # [turns, kernel, heads, d_head]
    heads, d_head = z.shape[-2:]
    out = block.attn.o_proj.weight.float().view(-1, heads, d_head)  # [d_model, heads, d_head]
    pieces = [z[:, :, h].float() @ out[:, h].T for h in range(heads)]
    return [f"L{layer}H{h}" for h in range(heads)], pieces, block.attn_conv


def _mlp(cache: Cache, layer: int, at: Tensor) -> Branch:
    """Each expert's weighted output before the ShortConv, or the dense MLP's."""
    block = _block(cache, layer)
    where = _window(at, block.mlp_conv.kernel)
    x = block.mlp_norm(_rows(cache["resid_mid", layer], where))  # [turns, kernel, d_model]
    x = x * (where >= 0)[..., None]  # nothing stands before the first position
    mlp = block.mlp
    if not isinstance(mlp, MoE):
        return [f"L{layer}M"], [mlp(x)], block.mlp_conv
    chosen, weights = _rows(cache["experts", layer], where), _rows(cache["expert_weights", layer], where)
    shared = _rows(cache["shared_weights", layer], where)  # [turns, kernel, n_shared]
    labels, pieces = [], []
    for e in range(mlp.n_experts):
        weight = (weights * (chosen == e)).sum(-1, keepdim=True)  # [turns, kernel, 1]
        labels.append(f"L{layer}E{e}")
        pieces.append(swiglu(x, mlp.gate_up[e], mlp.down[e]).float() * weight)
    for j in range(mlp.n_shared):
        labels.append(f"L{layer}S{j}")
        pieces.append(swiglu(x, mlp.shared_gate_up[j], mlp.shared_down[j]).float() * shared[..., j : j + 1])
    return labels, pieces, block.mlp_conv
