"""Muon for the matrices, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from tml_lab.train.parallel import share_rows
from tml_lab.train.sharded import full, like

# All tensors of a list in one launch: a GPU would else wait for each.
_lerp = torch._foreach_lerp  # pyright: ignore[reportPrivateImportUsage]
_lerp_ = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
_mul_ = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
_add_ = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to each of `[n, rows, cols]`, roughly: Newton-Schulz, in bfloat16.

    The quintic's coefficients are Jordan et al. 2024's (Muon): singular values end near 1, not at 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    wide = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2).contiguous() if wide else x
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)  # [n, rows, rows]
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return x.transpose(1, 2) if wide else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Keller Jordan 2024). Parameters are `[..., rows, cols]` matrices."""

    def __init__(self, params: ParamsT, lr: float, momentum: float = 0.95, weight_decay: float = 0.05):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; matrices of one shape are orthogonalised together."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads: list[Tensor] = [p.grad for p in params if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            momenta = [self.state[p]["momentum"] for p in params]
            _lerp_(momenta, grads, 1 - group["momentum"])
            updates = _lerp(grads, momenta, group["momentum"])  # Nesterov
            by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for p, update in zip(params, updates, strict=True):
                by_shape[(p.shape[-2], p.shape[-1])].append((p, full(update).reshape(-1, p.shape[-2], p.shape[-1])))
            _mul_(params, 1 - group["lr"] * group["weight_decay"])
            for (rows, cols), pairs in by_shape.items():
                matrices = share_rows(torch.cat([u for _, u in pairs]), orthogonalise)  # [matrices, rows, cols]
                pieces = matrices.split([len(u) for _, u in pairs])
                steps = [like(u.reshape(p.shape), p) for (p, _), u in zip(pairs, pieces, strict=True)]
                _add_([p for p, _ in pairs], steps, alpha=-group["lr"] * max(1.0, rows / cols) ** 0.5)


def split_parameters(
    model: nn.Module,
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """`(matrices for Muon, heads for AdamW, small ones for a faster AdamW, sound tables for a slower one)`.

    The backbone's projections and experts are the matrices. Norm gains, ShortConv taps and the relative bias are few
    and far from their start: at the usual rate they would need the whole run to get there. The tables of sound start
    smooth over bins and channels, and a high rate, which moves each row alone, would roughen them.
    """
    muon: list[nn.Parameter] = []
    adamw: list[nn.Parameter] = []
    fast: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        projection = name.startswith("backbone.") and p.ndim >= 2
        small = any(part in name for part in ("_conv.", ".rel", "router.", "r_proj"))
        quick = name.startswith("backbone.") and (p.ndim == 1 or "_conv." in name or name.endswith(".rel"))
        slow = name.endswith(("embed_audio.table", "embed_voice.table"))
        (muon if projection and not small else fast if quick else tables if slow else adamw).append(p)
    return muon, adamw, fast, tables
