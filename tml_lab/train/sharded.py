"""Weights in shares: each process keeps its part of every parameter, gradient and optimizer state (FSDP2).

A model that fits one process does not need it (`average_gradients` moves less); one that does not fit trains no other
way. A block's whole weights exist only while that block works. The trainer's other code sees DTensors and three calls:
`shard` before the optimizers are made, `whole` before anything is written, `in_shares` after it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from tml_lab.model.interaction import InteractionModel, Tokens

ALONE = "weights can be shared out among several processes only: start with --processes 2 or torchrun"


def shard(model: InteractionModel) -> None:
    """Divide the parameters among the processes of the group, block by block; every process calls it.

    Raises ValueError when there is no group of processes to divide among.
    """
    if not dist.is_initialized():
        raise ValueError(ALONE)
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    groups = (*model.backbone.blocks, model.flow, model.listen)
    for part in (*groups, model):
        fully_shard(part, mesh=mesh)
    _touch_the_rest(model, groups)
    register_fsdp_forward_method(model.flow, "loss")
    for method in ("embed", "text_logits"):
        register_fsdp_forward_method(model, method)


def _touch_the_rest(model: InteractionModel, groups: Sequence[nn.Module]) -> None:
    """Let every process's `embed` depend on all parameters outside the groups, with weight 0.

    A batch may hold no picture, or no voice. Gradients are added up over the processes in one message, which must have
    the same parts in each.
    """
    grouped = {id(p) for group in groups for p in group.parameters()}
    rest = [name for name, p in model.named_parameters() if id(p) not in grouped and p.requires_grad]
    embed = model.embed

    def touching(tokens: Tokens) -> Tensor:
        return embed(tokens) + 0.0 * torch.stack([model.get_parameter(n).flatten()[0] for n in rest]).sum()

    model.embed = touching


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was called on this model."""
    return any(isinstance(p, DTensor) for p in model.parameters())


def full(tensor: Tensor) -> Tensor:
    """A shared-out tensor put together (all processes must ask), any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, model_of: Tensor) -> Tensor:
    """A whole tensor, known to every process, divided as `model_of` is; as it is when that is whole."""
    if not isinstance(model_of, DTensor):
        return tensor
    return distribute_tensor(tensor, model_of.device_mesh, model_of.placements, src_data_rank=None)


def whole(state: Any) -> Any:
    """A state dict, however nested, with every tensor put together; every process must call it."""
    if isinstance(state, Tensor):
        return full(state)
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(whole(value) for value in state)
    return state


def in_shares(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's whole state dict, divided as its parameters are."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [i for group in state["param_groups"] for i in group["params"]]
    of = dict(zip(numbers, params, strict=True))

    def share(number: int, value: Any) -> Any:
        fits = isinstance(value, Tensor) and value.shape == of[number].shape
        return like(value, of[number]) if fits else value

    shares = {i: {key: share(i, value) for key, value in entry.items()} for i, entry in state["state"].items()}
    return {"state": shares, "param_groups": state["param_groups"]}
