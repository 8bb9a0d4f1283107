"""Exercises of notebooks/03_sight.ipynb."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import PATCH
from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.signal.patches import IMAGE_MEAN, IMAGE_STD, PAD_VALUE
from tml_lab.worlds.seen.body import View


def _pixels(seed: int) -> tuple[Tensor]:
    """One or two turns of noise, some with edges that are no multiples of 40."""
    generator = torch.Generator().manual_seed(seed)
    height, width = ((80, 120), (41, 80), (120, 79), (40, 40))[seed % 4]
    return (torch.randint(0, 256, (1 + seed % 2, 2, height, width, 3), generator=generator, dtype=torch.uint8),)


def _cut(pixels: Tensor, order: tuple[int, ...] | None = (0, 2, 4, 1, 3, 5, 6), fill: float = PAD_VALUE,
         before: bool = True, scaled: bool = False) -> Tensor:  # fmt: skip
    """Patches as they should be, or not: another order, another filling, filled up after normalising, or pixels scaled
    down instead of mean and deviation up."""
    turns, _, height, width, _ = pixels.shape
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    margin = (0, 0, 0, columns * PATCH - width, 0, rows * PATCH - height)
    canvas = pixels.float()
    canvas = F.pad(canvas, margin, value=fill) if before else canvas
    if scaled:
        canvas = (canvas / 255.0 - IMAGE_MEAN) / IMAGE_STD
    else:
        canvas = (canvas - IMAGE_MEAN * 255.0) / (IMAGE_STD * 255.0)
    canvas = canvas if before else F.pad(canvas, margin, value=fill)
    if order is None:
        return canvas.reshape(-1, 2, PATCH, PATCH, 3)
    grid = canvas.view(turns, 2, rows, PATCH, columns, PATCH, 3)
    return grid.permute(order).reshape(-1, 2, PATCH, PATCH, 3)


ch03_turns_to_patches = Exercise(
    module="tml_lab.signal.patches",
    attribute="turns_to_patches",
    cases=_pixels,
    hints=(
        "Fill up, normalise, cut: three steps. How many rows and columns of patches are there, started ones counted?",
        "F.pad(x, (0, 0, 0, right, 0, below), value=PAD_VALUE); then view as [turns, 2, rows, 40, columns, 40, 3].",
        "(x - IMAGE_MEAN * 255.0) / (IMAGE_STD * 255.0); .permute(0, 2, 4, 1, 3, 5, 6).reshape(-1, 2, 40, 40, 3).",
    ),
    mistakes=(
        Mistake(lambda pixels: _cut(pixels, None), "the shape is right, the order is memory's: permute before reshape"),
        Mistake(
            lambda pixels: _cut(pixels, (0, 4, 2, 1, 3, 5, 6)),
            "this goes column by column; patches are read row by row from the top left",
        ),
        Mistake(
            lambda pixels: _cut(pixels, (1, 0, 2, 4, 3, 5, 6)),
            "the two frames of a patch belong together: rows and columns come before the frames' axis",
        ),
        Mistake(lambda pixels: _cut(pixels, fill=0.0), "padding is PAD_VALUE, -1: just outside what a pixel can be"),
        Mistake(lambda pixels: _cut(pixels, before=False), "fill up first, then normalise the padding with the rest"),
        Mistake(
            lambda pixels: _cut(pixels, scaled=True),
            "right but for the last bits: scale mean and deviation up by 255.0, not the pixels down",
        ),
    ),
)


def _blocks(seed: int) -> tuple[Tensor, int, int]:
    """Patches or what a layer made of them, and one of the hMLP's folds or a small one."""
    generator = torch.Generator().manual_seed(seed)
    time, space = ((1, 2), (2, 1), (2, 2), (1, 5))[seed % 4]
    n, t, h, w, c = (int(k) for k in torch.randint(1, 4, (5,), generator=generator))
    return torch.randn(n, t * time, h * space, w * space, c, generator=generator), time, space


def _fold(x: Tensor, time: int, space: int, order: tuple[int, ...]) -> Tensor:
    n, t, h, w, c = x.shape
    x = x.reshape(n, t // time, time, h // space, space, w // space, space, c)
    return x.permute(order).reshape(n, t // time, h // space, w // space, time * space * space * c)


def _unpermuted(x: Tensor, time: int, space: int) -> Tensor:
    n, t, h, w, c = x.shape
    return x.reshape(n, t // time, h // space, w // space, time * space * space * c)


ch03_fold = Exercise(
    module="tml_lab.model.vision",
    attribute="fold",
    cases=_blocks,
    hints=(
        "Split T, H and W each into (how many blocks, where in the block): eight axes.",
        "First n and the three block numbers, then time, row and column within a block, then c.",
        "x.reshape(n, T // time, time, H // space, space, W // space, space, c).permute(0, 1, 3, 5, 2, 4, 6, 7)",
    ),
    mistakes=(
        Mistake(_unpermuted, "the shape is right, the order is memory's: a channel vector must hold one block"),
        Mistake(
            lambda x, time, space: _fold(x, time, space, (0, 1, 3, 5, 7, 2, 4, 6)),
            "within a block the channel comes last: time, row, column, channel",
        ),
        Mistake(
            lambda x, time, space: _fold(x, time, space, (0, 1, 3, 5, 2, 6, 4, 7)),
            "rows before columns within a block; yours are transposed",
        ),
        Mistake(
            lambda x, time, space: _fold(x, time, space, (0, 1, 3, 5, 4, 6, 2, 7)),
            "time comes first within a block, before row and column",
        ),
    ),
)


def _points(seed: int) -> tuple[np.ndarray, View]:
    """Some points of a body, seen from any side; in the first case from the front."""
    rng = np.random.default_rng(seed)
    yaw, tilt = (0.0, 0.0) if seed == 0 else rng.uniform((-3, -0.3), (3, 0.3))
    points = rng.uniform((-0.5, 0.0, -0.5), (0.5, 1.1, 0.5), (1 + seed % 4, 3))
    return points, View(float(yaw), float(rng.uniform(60, 100)), 110.0, float(rng.uniform(70, 100)), float(tilt))


def _project(points: np.ndarray, view: View, up: float = -1.0, turn: float = 1.0, far: float = 0.25,
             sign: float = -1.0) -> np.ndarray:  # fmt: skip
    c, s = math.cos(view.yaw), turn * math.sin(view.yaw)
    x, z = c * points[:, 0] + s * points[:, 2], c * points[:, 2] - s * points[:, 0]
    y = math.cos(view.tilt) * points[:, 1] - math.sin(view.tilt) * z
    near = math.cos(view.tilt) * z + math.sin(view.tilt) * points[:, 1]
    size = view.scale / (1.0 + sign * far * near)
    return np.stack([view.x + size * x, view.y + up * size * y, near], -1)


def _near_after(points: np.ndarray, view: View) -> np.ndarray:
    """The new y put in where the old one belongs."""
    x = math.cos(view.yaw) * points[:, 0] + math.sin(view.yaw) * points[:, 2]
    z = math.cos(view.yaw) * points[:, 2] - math.sin(view.yaw) * points[:, 0]
    y = math.cos(view.tilt) * points[:, 1] - math.sin(view.tilt) * z
    near = math.cos(view.tilt) * z + math.sin(view.tilt) * y
    size = view.scale / (1.0 - 0.25 * near)
    return np.stack([view.x + size * x, view.y - size * y, near], -1)


ch03_project = Exercise(
    module="tml_lab.worlds.seen.body",
    attribute="project",
    cases=_points,
    atol=1e-9,
    hints=(
        "Three steps: turn about the y axis, tip, then scale by how near the point is.",
        "x, z = c * x + s * z, c * z - s * x; then y and near from y and the new z, both from the old y.",
        "size = view.scale / (1 - near / 4); np.stack([view.x + size * x, view.y - size * y, near], -1).",
    ),
    mistakes=(
        Mistake(lambda points, view: _project(points, view, up=1.0), "head down: pixels count downwards"),
        Mistake(lambda points, view: _project(points, view, turn=-1.0), "turned the other way: x' = x cos + z sin"),
        Mistake(lambda points, view: _project(points, view, far=0.0), "all have one size: divide by 1 - near / 4"),
        Mistake(lambda points, view: _project(points, view, sign=1.0), "near things are larger: 1 - near / 4, not 1 +"),
        Mistake(_near_after, "near is made of the old y, before it was tipped"),
    ),
)
