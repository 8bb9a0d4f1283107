"""Mixture of experts with a shared-expert sink (Inkling's `InklingMoE`), and the dense MLP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_kernels.experts import gated, swiglu
from tml_kernels.router import route_reference
from tml_lab.config import ModelConfig
from tml_lab.model.dispatch import Combine, Gather, places
from tml_lab.model.tap import Tap

FEW_TOKENS = 16  # below this, visiting each token's experts beats sorting the tokens by expert


class DenseMLP(nn.Module):
    """SwiGLU with a learned scale (Inkling's `InklingMLP`)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(cfg.d_model, cfg.d_dense, bias=False)
        self.up_proj = nn.Linear(cfg.d_model, cfg.d_dense, bias=False)
        self.down_proj = nn.Linear(cfg.d_dense, cfg.d_model, bias=False)
        self.global_scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, tap: Tap | None = None) -> Tensor:
        """`x [batch, tokens, d_model]` -> the same shape."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)) * self.global_scale


class Router(nn.Module):
    """Chooses `top_k` routed experts by sigmoid score plus a balancing bias; weighs them with the shared ones.

    The bias takes part in the choice only. The shared experts are normalised together with the chosen ones,
    so they act as a sink: a token that no expert claims is left to them.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.n_experts, self.n_shared, self.top_k = cfg.n_experts, cfg.n_shared_experts, cfg.top_k
        self.route_scale = cfg.route_scale
        self.weight = nn.Parameter(torch.randn(cfg.n_experts + cfg.n_shared_experts, cfg.d_model) * 0.02)
        self.global_scale = nn.Parameter(torch.ones(1))
        self.bias: Tensor
        self.register_buffer("bias", torch.zeros(cfg.n_experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`x [n, d_model]` -> `(weights [n, top_k], experts [n, top_k], shared weights [n, n_shared])`, float32.

        The chosen come in no particular order.
        """
        with torch.autocast(x.device.type, enabled=False):  # half precision would round distinct scores to ties
            scale = self.route_scale * self.global_scale.float()  # [1]
            return route_reference(x.float(), self.weight, self.bias, self.top_k, scale, ascending=False)


class MoE(nn.Module):
    """Router, routed experts and shared experts; all experts are SwiGLU."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        d, inner = cfg.d_model, cfg.d_expert
        self.gated = gated  # the trainer may put a compiled one here
        self.n_experts, self.n_shared = cfg.n_experts, cfg.n_shared_experts
        self.router = Router(cfg)
        self.gate_up = nn.Parameter(torch.randn(cfg.n_experts, 2 * inner, d) * d**-0.5)
        self.down = nn.Parameter(torch.zeros(cfg.n_experts, d, inner))
        self.shared_gate_up = nn.Parameter(torch.randn(cfg.n_shared_experts, 2 * inner, d) * d**-0.5)
        self.shared_down = nn.Parameter(torch.zeros(cfg.n_shared_experts, d, inner))

    def forward(self, x: Tensor, tap: Tap | None = None) -> Tensor:
        """`x [batch, tokens, d_model]` -> the same shape. `tap` is told `experts [n, top_k]`, and sees `expert_weights
        [n, top_k]` and `shared_weights [n, n_shared]`, n = batch * tokens.
        """
        flat = x.reshape(-1, x.shape[-1])  # [n, d_model]
        weights, experts, shared_weights = self.router(flat)
        if tap is not None:
            if tap.want("experts"):
                tap["experts"] = experts
            weights = tap.look("expert_weights", weights)
            shared_weights = tap.look("shared_weights", shared_weights)
        self.last_experts = experts  # read by the trainer to balance the load
        routed = self._few if len(flat) <= FEW_TOKENS else self._padded if self.training else self._sorted
        out = routed(flat, weights, experts)  # [n, d_model] float32
        for j in range(self.n_shared):
            hidden = swiglu(flat, self.shared_gate_up[j], self.shared_down[j], self.gated)
            out = out + hidden.float() * shared_weights[:, j : j + 1]
        return out.to(x.dtype).view(x.shape)

    def _few(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """Visit the experts that were chosen by any token, each once."""
        out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        chosen = experts.tolist()
        if len(chosen) == 1:  # one token, as while speaking: nothing to pick rows from
            for e, slot in sorted((e, slot) for slot, e in enumerate(chosen[0])):
                out = out + swiglu(x, self.gate_up[e], self.down[e]).float() * weights[:, slot, None]
            return out
        for e in sorted({e for row in chosen for e in row}):
            rows = [i for i, row in enumerate(chosen) if e in row]
            slots = [chosen[i].index(e) for i in rows]
            hidden = swiglu(x[rows], self.gate_up[e], self.down[e])
            out[rows] += hidden.float() * weights[rows, slots, None]
        return out

    def _padded(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """As `_sorted`, but every expert's slice is filled up to one length, the longest's: in training, where
        counts change with every batch, a product of a new shape costs more to prepare than to compute.
        """
        n, top_k = experts.shape
        place, capacity = places(experts, self.n_experts)
        slots = self.n_experts * capacity
        token = torch.arange(n, device=x.device).repeat_interleave(top_k)  # [n * top_k]
        source = torch.full((slots,), -1, device=x.device).scatter_(0, place.flatten(), token)  # [slots]
        low = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        rows = Gather.apply(x.to(low), source, place).view(self.n_experts, capacity, -1)  # [experts, capacity, d_model]
        inner = self.gated(torch.bmm(rows, self.gate_up.to(rows.dtype).transpose(1, 2)))  # [experts, capacity, inner]
        hidden = torch.bmm(inner, self.down.to(rows.dtype).transpose(1, 2))  # [experts, capacity, d_model]
        return Combine.apply(hidden.view(slots, -1), weights, place, source)  # [n, d_model]

    def _sorted(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """Sort (token, expert) pairs by expert, run each expert on its slice, add back in fixed expert order."""
        n, top_k = experts.shape
        order = experts.flatten().argsort(stable=True)  # [n * top_k]
        token = order // top_k
        counts = torch.bincount(experts.flatten(), minlength=self.n_experts).tolist()
        pieces = x[token].split(counts)  # each [n_e, d_model]
        experts_of = zip(pieces, self.gate_up.unbind(), self.down.unbind(), strict=True)
        hidden = [swiglu(piece, gate_up, down) for piece, gate_up, down in experts_of if len(piece)]
        scaled = torch.cat(hidden).float() * weights.flatten()[order, None]  # [n * top_k, d_model]
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return scaled[back].view(n, top_k, -1).sum(1)  # [n, d_model]
