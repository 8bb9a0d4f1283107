"""Optional speed for training: the elementwise-heavy parts of the backbone, compiled by `torch.compile`."""

from __future__ import annotations

import shutil
from typing import Any

import torch

from tml_kernels.experts import gated
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import MoE


def compile_parts(model: InteractionModel) -> bool:
    """Compile attention, norms and ShortConvs in place; returns whether a C++ compiler was there to do it.

    The routed experts stay eager: their shapes change with every batch. Costs a minute or two at the first step
    and saves about a quarter of each later one on two CPU cores.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if on_cpu and not any(shutil.which(compiler) for compiler in ("g++", "clang++")):
        return False
    torch._dynamo.config.recompile_limit = 64
    glu = torch.compile(gated, dynamic=True)
    model.flow._move = torch.compile(model.flow._move, dynamic=True)
    block: Any
    for block in model.backbone.blocks:
        parts = [block.attn, block.attn_conv, block.mlp_conv, block.attn_norm, block.mlp_norm]
        if isinstance(block.mlp, MoE):
            parts.append(block.mlp.router)
            block.mlp.gated = glu
        for part in parts:
            part.forward = torch.compile(part.forward, dynamic=True)
    return True
