"""Solutions of chapter 04's exercises; each stands where the stub stood."""

from __future__ import annotations

import torch


def sight(pos, key_pos, sinks, window, extent):
    distance = (pos.unsqueeze(-1) - key_pos.unsqueeze(1)).unsqueeze(1)
    seen = (distance < window) | (key_pos < sinks)[:, None, None]
    unseen = torch.where(seen & (distance >= 0), 0.0, -torch.inf)
    return unseen, distance.clamp(0, extent - 1), ~((distance >= 0) & (distance < extent))


def relative_bias(r, rel, distance, beyond):
    per_distance = torch.einsum("bhnr,re->bhne", r, rel)
    index = distance.expand(-1, r.shape[1], -1, -1)
    return torch.where(beyond, 0.0, per_distance.take_along_dim(index, -1))


def causal_conv(x, tail, weight):
    held = torch.cat([tail, x], 1)
    seen = held.unfold(1, weight.shape[1], 1)  # [b, tokens, channels, kernel]
    return x + (seen * weight).sum(-1), held[:, x.shape[1] :]


def slot_of(pos, slots, sinks):
    return torch.where(pos < sinks, pos, (pos - sinks).remainder(slots - sinks) + sinks)


def positions_held(next_pos, slots, sinks):
    slot, last, ring = torch.arange(slots)[None], next_pos[:, None] - 1, slots - sinks
    rounds = (last - slot).div(ring, rounding_mode="floor")
    newest = torch.where(slot < sinks, slot, slot + rounds * ring)
    return torch.where((newest > last) | (newest < 0) | ((newest < sinks) & (slot >= sinks)), -1, newest)
