"""Solutions of chapter 02's exercises; each stands where the stub stood."""

from __future__ import annotations

import torch

from tml_lab.signal.dmel import BIN_CENTERS, HOP, WINDOW


def quantize(values):
    return (values[..., None] - BIN_CENTERS).abs().argmin(dim=-1).to(torch.uint8)


def causal_frames(samples):
    n_frames = -(-len(samples) // HOP)
    padded = torch.cat([torch.zeros(HOP), samples, torch.zeros(n_frames * HOP - len(samples))])
    frames = [padded[HOP * i : HOP * i + WINDOW] for i in range(n_frames)]
    return torch.stack(frames) if frames else torch.zeros(0, WINDOW)


def advance(tail, chunk):
    heard, frames = torch.cat([tail, chunk]), []
    while len(heard) >= WINDOW:
        frames.append(heard[:WINDOW])
        heard = heard[HOP:]
    return (torch.stack(frames) if frames else torch.zeros(0, WINDOW)), heard.clone()
