"""Exercises of notebooks/02_sound_to_dmel.ipynb."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.signal.dmel import BIN_CENTERS, BIN_EDGES, HOP, WINDOW


def _values(seed: int) -> tuple[Tensor]:
    """Log-mel values of a random shape, some beyond the range, none within 1e-4 of the edge of a bin."""
    generator = torch.Generator().manual_seed(seed)
    shape = [int(n) for n in torch.randint(1, 6, (1 + seed % 3,), generator=generator)]
    values = -9.0 + 13.0 * torch.rand(shape, generator=generator)
    # On an edge 0.6 * k rounds one way or the other; that is not what the exercise is about.
    nearest = BIN_EDGES[(values[..., None] - BIN_EDGES).abs().argmin(-1)]
    values = torch.where((values - nearest).abs() < 1e-4, values + 1e-3, values)
    values.view(-1)[0] = (-7.5, 3.0, -1.75, 0.4)[seed % 4]
    return (values,)


def _rounded(values: Tensor, step: float) -> Tensor:
    return ((values.clamp(-7.0, 2.0) + 7.0) / step).round().clamp(0, 15).to(torch.uint8)


ch02_quantize = Exercise(
    module="tml_lab.signal.dmel",
    attribute="quantize",
    cases=_values,
    hints=(
        "BIN_CENTERS holds the 16 values; which of them is nearest?",
        "values[..., None] - BIN_CENTERS has one more axis, of 16 distances; its sign does not matter.",
        "Take .abs() of it, then .argmin(dim=-1), and turn the result into torch.uint8.",
    ),
    mistakes=(
        Mistake(
            lambda values: ((values.clamp(-7.0, 2.0) + 7.0) / 0.6).floor().clamp(0, 15).to(torch.uint8),
            "you take the centre below; the nearest one may lie above",
        ),
        Mistake(
            lambda values: _rounded(values, 9.0 / 16),
            "16 centres have 15 gaps between them: the step is 9 / 15 = 0.6",
        ),
        Mistake(
            lambda values: ((values + 7.0) / 0.6).round().to(torch.int64).to(torch.uint8),
            "values below -7 or above 2 leave 0..15 (uint8 wraps round); clamp them first",
        ),
        Mistake(
            lambda values: (values[..., None] - BIN_CENTERS).abs().argmin(dim=-1),
            "the bins are right; store them in one byte each with .to(torch.uint8)",
        ),
        Mistake(
            lambda values: (values[..., None] - BIN_CENTERS).argmin(dim=-1).to(torch.uint8),
            "a distance has no sign: without .abs() the highest centre always wins",
        ),
    ),
)


def _sound(seed: int) -> tuple[Tensor]:
    """Noise of a random length, whole hops and an empty sound among them."""
    generator = torch.Generator().manual_seed(seed)
    n = (0, HOP, 3 * HOP, 1)[seed] if seed < 4 else int(torch.randint(1, 6000, (), generator=generator))
    return (torch.randn(n, generator=generator),)


def _centered(samples: Tensor) -> Tensor:
    n_frames = -(-samples.shape[0] // HOP)
    padded = F.pad(samples, (WINDOW // 4, n_frames * HOP - samples.shape[0] + WINDOW // 4))
    return padded.unfold(0, WINDOW, HOP) if n_frames else samples.new_zeros(0, WINDOW)


def _looking_ahead(samples: Tensor) -> Tensor:
    n_frames = -(-samples.shape[0] // HOP)
    padded = F.pad(samples, (0, (n_frames + 1) * HOP - samples.shape[0]))
    return padded.unfold(0, WINDOW, HOP) if n_frames else samples.new_zeros(0, WINDOW)


def _without_the_rest(samples: Tensor) -> Tensor:
    whole = samples[: samples.shape[0] // HOP * HOP]
    return F.pad(whole, (HOP, 0)).unfold(0, WINDOW, HOP) if len(whole) else samples.new_zeros(0, WINDOW)


ch02_causal_frames = Exercise(
    module="tml_lab.signal.dmel",
    attribute="causal_frames",
    cases=_sound,
    hints=(
        "How many frames are there? Count the hops, the started one too: -(-n // HOP).",
        "Put WINDOW - HOP zeros in front: frame 0 ends with the first hop. Fill the last hop up.",
        "F.pad(samples, (front, behind)), then .unfold(0, WINDOW, HOP); an empty sound has no frames.",
    ),
    mistakes=(
        Mistake(_centered, "half of the padding stands behind: each frame sees 25 ms of the future"),
        Mistake(_looking_ahead, "all of the padding stands behind: frame 0 already sees the second hop"),
        Mistake(_without_the_rest, "the last, started hop is missing: fill it up with zeros"),
    ),
)


def _tail_and_chunk(seed: int) -> tuple[Tensor, Tensor]:
    """A tail of 800..1599 samples and a piece of a random length, often shorter than a hop."""
    generator = torch.Generator().manual_seed(seed)
    rest = int(torch.randint(0, HOP, (), generator=generator))
    n = int(torch.randint(0, 500 if seed % 2 else 5000, (), generator=generator))
    return torch.randn(HOP + rest, generator=generator), torch.randn(n, generator=generator)


def _windows(heard: Tensor) -> Tensor:
    return heard.unfold(0, WINDOW, HOP) if len(heard) >= WINDOW else heard.new_zeros(0, WINDOW)


def _drops_the_rest(tail: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    heard = torch.cat([tail, chunk])
    return _windows(heard), heard[-HOP:].clone()


def _forgets_the_past(tail: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    heard = torch.cat([tail, chunk])
    return _windows(heard), heard[len(heard) // HOP * HOP :].clone()


def _hears_only_the_piece(tail: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    heard = torch.cat([tail, chunk])
    return _windows(chunk), heard[(len(heard) // HOP - 1) * HOP :].clone()


ch02_advance = Exercise(
    module="tml_lab.signal.dmel",
    attribute="advance",
    cases=_tail_and_chunk,
    hints=(
        "Put tail and chunk together first; everything else is counting hops.",
        "heard holds one old hop and k new ones, then a rest: k = len(heard) // HOP - 1.",
        "The windows lie in heard[: (k + 1) * HOP]; keep heard[k * HOP :]. With k = 0 there is no window.",
    ),
    mistakes=(
        Mistake(_drops_the_rest, "samples after the last whole hop are lost: the tail keeps them, too"),
        Mistake(_forgets_the_past, "the next window begins one hop back: keep the last whole hop as well"),
        Mistake(
            _hears_only_the_piece, "windows reach back into the tail: cut them from tail and chunk together"
        ),
    ),
)
