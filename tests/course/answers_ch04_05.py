"""Right answers to the exercises of chapters 04 and 05, in other words than the library's: mostly loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def sight(pos: Tensor, key_pos: Tensor, sinks: int, window: int, extent: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (len(pos), 1, pos.shape[1], key_pos.shape[1])
    unseen, distance = torch.full(shape, -math.inf), torch.zeros(shape, dtype=torch.long)
    beyond = torch.ones(shape, dtype=torch.bool)
    for b in range(shape[0]):
        for i, query in enumerate(pos[b].tolist()):
            for j, key in enumerate(key_pos[b].tolist()):
                back = query - key
                if back >= 0 and (back < window or key < sinks):
                    unseen[b, 0, i, j] = 0.0
                distance[b, 0, i, j] = min(max(back, 0), extent - 1)
                beyond[b, 0, i, j] = not 0 <= back < extent
    return unseen, distance, beyond


def relative_bias(r: Tensor, rel: Tensor, distance: Tensor, beyond: Tensor) -> Tensor:
    profile = rel[:, distance[:, 0]]  # [d_rel, batch, n, keys]
    return torch.einsum("bhnr,rbnk->bhnk", r, profile) * (~beyond).float()


def causal_conv(x: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    held, out = [tail[:, i] for i in range(tail.shape[1])], []
    for t in range(x.shape[1]):
        held.append(x[:, t])
        newest = held[-weight.shape[1] :]
        out.append(x[:, t] + sum(taps * each for taps, each in zip(weight.T, newest, strict=True)))
    return torch.stack(out, 1), torch.stack(held[-tail.shape[1] :], 1)


def slot_of(pos: Tensor, slots: int, sinks: int) -> Tensor:
    around = pos.clone()
    while bool((around >= slots).any()):
        around = torch.where(around >= slots, around - (slots - sinks), around)
    return around


def positions_held(next_pos: Tensor, slots: int, sinks: int) -> Tensor:
    held = torch.full((len(next_pos), slots), -1)
    for row, count in enumerate(next_pos.tolist()):
        for p in range(count):
            held[row, int(slot_of(torch.tensor(p), slots, sinks))] = p
    return held


def route_reference(x: Tensor, weight: Tensor, bias: Tensor, top_k: int, scale: float) -> tuple[Tensor, ...]:
    score = 1 / (1 + torch.exp(-(weight @ x.T).T))
    routed, shared = score[:, : len(bias)], score[:, len(bias) :]
    chosen = (routed + bias).argsort(dim=-1, descending=True)[:, :top_k].sort(-1).values
    mine = torch.stack([row[index] for row, index in zip(routed, chosen, strict=True)])
    total = mine.sum(1, keepdim=True) + shared.sum(1, keepdim=True)
    return scale * mine / total, chosen, scale * shared / total


def experts_by_pairs(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for i in range(len(x)):
        for slot, e in enumerate(chosen[i].tolist()):
            gate, up = (gate_up[e] @ x[i]).chunk(2)
            out[i] += weight[i, slot] * (down[e] @ (F.silu(gate) * up))
    return out


def nudged(bias: Tensor, load: Tensor, rate: float = 1e-3) -> Tensor:
    mean = float(load.mean())
    return bias + torch.tensor([rate * ((each < mean) - (each > mean)) for each in load.tolist()])


RIGHT: dict[str, Callable[..., Any]] = {
    "ch04_causal_conv": causal_conv,
    "ch04_positions_held": positions_held,
    "ch04_relative_bias": relative_bias,
    "ch04_sight": sight,
    "ch04_slot_of": slot_of,
    "ch05_experts_gathered": experts_by_pairs,
    "ch05_experts_grouped": experts_by_pairs,
    "ch05_nudged": nudged,
    "ch05_route_reference": route_reference,
}
