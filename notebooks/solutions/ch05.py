"""Solutions of chapter 05's exercises; each stands where the stub stood."""

from __future__ import annotations

import torch

from tml_kernels.experts import swiglu


def route_reference(x, weight, bias, top_k, scale):
    score = (x @ weight.T).sigmoid()
    chosen = (score[:, : len(bias)] + bias).topk(top_k, dim=-1).indices.sort(-1).values
    kept = torch.cat([score.gather(1, chosen), score[:, len(bias) :]], 1)
    weights = scale * kept / kept.sum(1, keepdim=True)
    return weights[:, :top_k], chosen, weights[:, top_k:]


def experts_gathered(x, weight, chosen, gate_up, down):
    both = (gate_up[chosen] @ x[:, None, :, None])[..., 0]  # [n, top_k, 2 * inner]
    inner = both.shape[-1] // 2
    hidden = torch.nn.functional.silu(both[..., :inner]) * both[..., inner:]
    return ((down[chosen] @ hidden[..., None])[..., 0] * weight[..., None]).sum(1)


def experts_grouped(x, weight, chosen, gate_up, down):
    out = torch.zeros_like(x)
    for e in range(len(down)):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        out[token] += swiglu(x[token], gate_up[e], down[e]) * weight[token, slot, None]
    return out


def nudged(bias, load, rate=1e-3):
    return bias - rate * torch.sign(load - load.mean())
