"""Solutions of chapter 03's exercises; each stands where the stub stood."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tml_lab.config import PATCH
from tml_lab.signal.patches import IMAGE_MEAN, IMAGE_STD, PAD_VALUE


def turns_to_patches(pixels):
    turns, _, height, width, _ = pixels.shape
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    full = F.pad(pixels.float(), (0, 0, 0, columns * PATCH - width, 0, rows * PATCH - height), value=PAD_VALUE)
    full = (full - IMAGE_MEAN * 255.0) / (IMAGE_STD * 255.0)
    strips = torch.cat(full.split(PATCH, dim=3), dim=1) if columns == 1 else torch.stack(full.split(PATCH, 3), 1)
    strips = strips.view(turns, columns, 2, rows, PATCH, PATCH, 3).permute(0, 3, 1, 2, 4, 5, 6)
    return strips.reshape(-1, 2, PATCH, PATCH, 3)


def fold(x, time, space):
    x = x.unflatten(3, (-1, space)).unflatten(2, (-1, space)).unflatten(1, (-1, time))
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


def project(points, view):
    x, y, z = points.T
    c, s = np.cos(view.yaw), np.sin(view.yaw)
    x, z = c * x + s * z, c * z - s * x
    c, s = np.cos(view.tilt), np.sin(view.tilt)
    y, near = c * y - s * z, c * z + s * y
    size = view.scale / (1 - near / 4)
    return np.stack([view.x + size * x, view.y - size * y, near], axis=1)
