"""Camera pictures to the patches that the model sees: 40x40 pixels, two frames in time.

Normalised and padded as `InklingImageProcessor` does (transformers, Apache-2.0), with one difference: that
adds a column of pure padding when the width is a multiple of 40; here 160x120 gives 4 x 3 = 12 patches.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import PATCH, VIDEO_FRAMES_PER_TURN
from tml_lab.signal.errors import SignalError

# CLIP's colour statistics, of pixel values scaled to 0..1 (red, green, blue).
IMAGE_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
IMAGE_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])
PAD_VALUE = -1.0  # in 0..255 units, before scaling: just outside what a pixel can be
MAX_EDGE = 4096  # pixels; a larger picture is a mistake, not a camera


def n_patches(height: int, width: int) -> int:
    """How many patches a picture of this size in pixels gives (borders count as whole patches)."""
    return -(-height // PATCH) * -(-width // PATCH)


def frames_to_patches(frames: Tensor | np.ndarray) -> Tensor:
    """Cut the two frames of one turn into patches, row by row from the top left.

    A picture whose edges are no multiples of 40 is padded at the right and the bottom, as in Inkling.

    Args: frames uint8 `[2, H, W, 3]`, RGB; a still is given twice.
    Returns: f32 `[P, 2, 40, 40, 3]`, normalised, P = ceil(H / 40) * ceil(W / 40).
    Raises: SignalError for a wrong type or shape.
    """
    return turns_to_patches(check_frames(frames)[None])


def turns_to_patches(pixels: Tensor) -> Tensor:
    """As `frames_to_patches`, for many turns at once, on their device: uint8 `[turns, 2, H, W, 3]` ->
    f32 `[turns * P, 2, 40, 40, 3]`.
    """
    turns, _, height, width, _ = pixels.shape
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    size = (turns, VIDEO_FRAMES_PER_TURN, rows * PATCH, columns * PATCH, 3)
    canvas = torch.full(size, PAD_VALUE, device=pixels.device)
    canvas[:, :, :height, :width] = pixels.to(torch.float32)
    # Mean and deviation are scaled up, not the pixels down: Inkling's order, equal to the bit.
    mean, std = IMAGE_MEAN.to(canvas) * 255.0, IMAGE_STD.to(canvas) * 255.0
    normalised = (canvas - mean) / std
    grid = normalised.view(turns, VIDEO_FRAMES_PER_TURN, rows, PATCH, columns, PATCH, 3)
    grid = grid.permute(0, 2, 4, 1, 3, 5, 6)  # [turns, rows, columns, 2, 40, 40, 3]
    return grid.reshape(-1, VIDEO_FRAMES_PER_TURN, PATCH, PATCH, 3)  # [turns * P, 2, 40, 40, 3]


def patches_to_frames(patches: Tensor, height: int, width: int) -> Tensor:
    """Undo `frames_to_patches`, for looking: f32 `[P, 2, 40, 40, 3]` -> uint8 `[2, H, W, 3]`."""
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    if patches.shape != (rows * columns, VIDEO_FRAMES_PER_TURN, PATCH, PATCH, 3):
        raise SignalError(
            f"a {width}x{height} picture gives [{rows * columns}, 2, 40, 40, 3], not {list(patches.shape)}"
        )
    pixels = patches * (IMAGE_STD.to(patches) * 255.0) + IMAGE_MEAN.to(patches) * 255.0
    grid = pixels.view(rows, columns, VIDEO_FRAMES_PER_TURN, PATCH, PATCH, 3).permute(2, 0, 3, 1, 4, 5)
    canvas = grid.reshape(VIDEO_FRAMES_PER_TURN, rows * PATCH, columns * PATCH, 3)
    return canvas[:, :height, :width].round().clamp(0, 255).to(torch.uint8)


def check_frames(frames: Tensor | np.ndarray) -> Tensor:
    """One turn's frames uint8 `[2, H, W, 3]` as a tensor. Raises SignalError, which says what is wrong with them."""
    if isinstance(frames, np.ndarray) and not frames.flags.writeable:
        frames = frames.copy()
    pixels = torch.as_tensor(frames)
    if pixels.dtype != torch.uint8:
        raise SignalError(f"video frames must be uint8 pixels in 0..255, got {pixels.dtype}")
    if pixels.ndim == 3:
        raise SignalError(f"a turn has two frames [2, H, W, 3], got {list(pixels.shape)}; give a still twice")
    if pixels.ndim != 4 or pixels.shape[0] != VIDEO_FRAMES_PER_TURN or pixels.shape[3] != 3:
        raise SignalError(f"a turn's video has the shape [2, H, W, 3] in RGB, got {list(pixels.shape)}")
    height, width = pixels.shape[1:3]
    if not (0 < height <= MAX_EDGE and 0 < width <= MAX_EDGE):
        raise SignalError(f"a picture of {width}x{height} pixels cannot be used; edges must be 1..{MAX_EDGE}")
    return pixels
