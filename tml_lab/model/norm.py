"""RMSNorm as a module (Inkling's `InklingRMSNorm`); the arithmetic lives in `tml_kernels`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tml_kernels.rmsnorm import rms_norm


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis, in float32, scaled by `weight [d]`."""

    def __init__(self, d: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x [..., d]` -> the same shape and dtype."""
        return rms_norm(x, self.weight, self.eps)
