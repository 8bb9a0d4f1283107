"""Even load: one nudge of each router, and what many of them do to a router with favourites."""

from __future__ import annotations

import torch

from tml_lab.config import preset
from tml_lab.model.interaction import InteractionModel
from tml_lab.train.balance import BALANCE_RATE, balance, nudged


def test_each_router_is_nudged_by_its_own_last_batch() -> None:
    model = InteractionModel(preset("pico").with_(vocab_size=8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for layer, block in enumerate(model.backbone.blocks):
        block.mlp.last_experts = torch.tensor([[layer, 3], [layer, 3], [layer, 3], [(layer + 1) % 3, 3]])
    balance(model)
    for layer, block in enumerate(model.backbone.blocks):
        signs = torch.ones(4)  # loads 3, 1, 0 and 4 of a mean of 2
        signs[[layer, 3]] = -1.0
        torch.testing.assert_close(block.mlp.router.bias, BALANCE_RATE * signs)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"backbone.blocks.{layer}.mlp.router.bias" for layer in range(model.cfg.n_layers)}


def test_favourites_lose_their_advantage() -> None:
    generator = torch.Generator().manual_seed(0)
    taste, bias, loads = torch.tensor([2.0, 0.0, 0.0, -2.0]), torch.zeros(4), []
    for _ in range(400):
        score = (torch.randn(64, 4, generator=generator) + taste).sigmoid()
        loads.append(torch.bincount((score + bias).topk(2, dim=1).indices.flatten(), minlength=4).float())
        old = bias.clone()
        bias = nudged(bias, loads[-1], rate=0.005)
        assert (bias - old).abs().max() <= 0.005 + 1e-6
    first, last = (torch.stack(part).mean(0) / 128 for part in (loads[:20], loads[-100:]))
    assert first.max() > 0.4 and (last - 0.25).abs().max() < 0.03
