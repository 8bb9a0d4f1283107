"""Exercises of notebooks/06_sound_out.ipynb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tml_lab.config import N_BINS
from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.model.flow import on_the_path
from tml_lab.model.vocoder import overlap_add
from tml_lab.signal.out_mel import VOICE_MAX, VOICE_MIN


def _path(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise and target `[n, numbers]`, times `[n]`; the ends of the path among them."""
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(2, 6, (1,), generator=generator))
    width = n + 1 + seed % 3  # never square: a time for each number would go unnoticed
    t = torch.rand(n, generator=generator)
    t[0] = seed % 2
    return torch.randn(n, width, generator=generator), torch.randn(n, width, generator=generator), t


ch06_on_the_path = Exercise(
    module="tml_lab.model.flow",
    attribute="on_the_path",
    cases=_path,
    hints=(
        "At t = 0 you are at the noise, at t = 1 at the target, in between on the straight line. How fast do you go?",
        "t has one number for each row: t[:, None] makes a column of it.",
        "x_t = (1 - t) * noise + t * target; the velocity is target - noise, at every t; return both.",
    ),
    mistakes=(
        Mistake(
            lambda noise, target, t: (on_the_path(target, noise, t)[0], target - noise),
            "t = 0 is the noise and t = 1 the target: you have them the other way round",
        ),
        Mistake(
            lambda noise, target, t: (on_the_path(noise, target, t)[0], noise - target),
            "the velocity leads to the target: target - noise",
        ),
        Mistake(
            lambda noise, target, t: (x := on_the_path(noise, target, t)[0], target - x),
            "the whole way in one unit of time: the velocity is the same everywhere on the path, target - noise",
        ),
    ),
    atol=1e-6,
)


@dataclass(frozen=True)
class Current:
    """A velocity that pulls towards a point, differently in each step, so that order and number of steps show."""

    point: float

    def __call__(self, x: Tensor, step: int) -> Tensor:
        """`x [N, n]` -> `[N, n]`."""
        return (self.point - x) * (1.0 + 0.5 * step)


def _currents(seed: int) -> tuple[Callable[[Tensor, int], Tensor], Tensor, int]:
    generator = torch.Generator().manual_seed(seed)
    return Current(float(seed)), torch.randn(3, 2, generator=generator), 1 + seed % 5


def _loop(velocity: Callable[[Tensor, int], Tensor], x: Tensor, n_steps: int, size: float, moving: bool) -> Tensor:
    start = x
    for step in range(n_steps):
        x = x + velocity(x if moving else start, step) * size
    return x


ch06_follow = Exercise(
    module="tml_lab.model.flow",
    attribute="follow",
    cases=_currents,
    hints=(
        "You walk from time 0 to time 1 in n_steps steps. How long is one?",
        "In each step ask for the velocity where you are now, and go 1 / n_steps of it.",
        "for step in range(n_steps): x = x + velocity(x, step) / n_steps; return x.",
    ),
    mistakes=(
        Mistake(
            lambda velocity, x, n_steps: _loop(velocity, x, n_steps, 1.0, True),
            "a step lasts 1 / n_steps of the time, and carries you that much of the velocity",
        ),
        Mistake(
            lambda velocity, x, n_steps: _loop(velocity, x, n_steps, 1 / n_steps, False),
            "ask for the velocity where you are now, not where you began",
        ),
        Mistake(
            lambda velocity, x, n_steps: _loop(lambda at, step: velocity(at, step + 1), x, n_steps, 1 / n_steps, True),
            "the steps are numbered from 0",
        ),
    ),
    atol=1e-3,
)


def _mel(seed: int) -> tuple[Tensor]:
    """Normalised mel beyond both ends of the bins, of any shape."""
    generator = torch.Generator().manual_seed(seed)
    shape = [(4, 320), (0, 320), (7,), (2, 3, 5)][seed % 4]
    return (3.0 * torch.randn(shape, generator=generator),)


def _binned(mel: Tensor, bins: int, rounded: bool) -> Tensor:
    place = (mel - VOICE_MIN) / ((VOICE_MAX - VOICE_MIN) / bins)
    return (place.round() if rounded else place.floor()).clamp(0, N_BINS - 1).to(torch.uint8)


ch06_quantize_voice = Exercise(
    module="tml_lab.signal.out_mel",
    attribute="quantize_voice",
    cases=_mel,
    hints=(
        "16 centres from VOICE_MIN to VOICE_MAX: how far apart are they?",
        "(VOICE_MAX - VOICE_MIN) / 15. Count the steps from VOICE_MIN and take the nearest whole number.",
        "((mel - VOICE_MIN) / step).round().clamp(0, 15).to(torch.uint8).",
    ),
    mistakes=(
        Mistake(
            lambda mel: _binned(mel, N_BINS - 1, rounded=False),
            "the nearest centre, not the one below: round, do not floor",
        ),
        Mistake(
            lambda mel: _binned(mel, N_BINS, rounded=True),
            "16 centres have 15 steps between them",
        ),
        Mistake(
            lambda mel: (((mel - VOICE_MIN) / ((VOICE_MAX - VOICE_MIN) / (N_BINS - 1))).round().long() % 256).to(
                torch.uint8
            ),
            "what lies beyond the last centre belongs to it: clamp before you convert, or the byte wraps round",
        ),
    ),
)


def _windows(seed: int) -> tuple[Tensor, Tensor, int]:
    """Windows `[B, F, window]`, what was left over `[B, window - hop]`, the hop."""
    generator = torch.Generator().manual_seed(seed)
    batch, n_frames, hop, times = 1 + seed % 2, (3, 1, 2, 4)[seed % 4], 2 + seed % 3, 2 + seed % 2
    window = hop * times
    frames = torch.randn(batch, n_frames, window, generator=generator)
    return frames, torch.randn(batch, window - hop, generator=generator), hop


ch06_overlap_add = Exercise(
    module="tml_lab.model.vocoder",
    attribute="overlap_add",
    cases=_windows,
    hints=(
        "How long is the sound from the first window's start to the last one's end? Begin with that many zeros.",
        "Window f begins at f * hop: add it there. What was left over is added at the very beginning.",
        "The first F * hop samples are finished: return them, and the other window - hop for the next call.",
    ),
    mistakes=(
        Mistake(
            lambda frames, overlap, hop: overlap_add(frames, torch.zeros_like(overlap), hop),
            "what earlier windows left over belongs under the first new ones: add `overlap`",
        ),
        Mistake(
            lambda frames, overlap, hop: (
                frames[..., :hop].reshape(len(frames), -1),
                overlap_add(frames, overlap, hop)[1],
            ),
            "windows overlap: a sample is the sum of several of them",
        ),
        Mistake(
            lambda frames, overlap, hop: (
                overlap_add(frames, overlap, hop)[0],
                frames[:, -1, hop:],
            ),
            "what is left over comes from several windows, not from the last alone",
        ),
    ),
    atol=1e-5,
)
