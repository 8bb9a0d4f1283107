"""Even load among a router's experts, without a loss for it (Wang et al. 2024, arXiv 2408.15664; Inkling's bias)."""

from __future__ import annotations

import torch
from torch import Tensor

from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import MoE
from tml_lab.train.parallel import sum_over_processes

BALANCE_RATE = 1e-3  # step of the router's balancing bias


def nudged(bias: Tensor, load: Tensor, rate: float = BALANCE_RATE) -> Tensor:
    """The balancing bias after a batch: up by `rate` for an expert with less than the mean load, else down.

    `bias [n_experts]`, `load [n_experts]` (how many tokens each expert got) -> the new bias, a tensor of its own.
    """
    return bias + rate * (load.mean() - load).sign()


@torch.no_grad()
def balance(model: InteractionModel) -> None:
    """Nudge each router's bias by the load of the last batch; it takes part in the choice of experts only."""
    for block in model.backbone.blocks:
        if isinstance(block.mlp, MoE):
            load = torch.bincount(block.mlp.last_experts.flatten(), minlength=block.mlp.n_experts).float()
            block.mlp.router.bias.copy_(nudged(block.mlp.router.bias, sum_over_processes(load)))
