"""What the camera shows in training: pictures with nothing in them that matters, drawn where the model is trained.

The first families are heard, not seen; what the nano must learn of the camera is that it may be on. A batch carries
only what its pictures are drawn from: on a GPU they are drawn there, since a second of pixels is a hundred times the
size of a second of sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import PATCH, VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.signal.patches import turns_to_patches
from tml_lab.worlds.seen.footage import draw_showing, footage_behind, is_drawn

PICTURES = (VIDEO_SIZE, VIDEO_SIZE, (120, 80), (80, 80), (80, 40))  # width, height: 12, 12, 6, 4 and 2 patches


def n_patches(size: tuple[int, int]) -> int:
    """Patches of a picture of `(width, height)`, and so tokens of a turn with the camera on."""
    return (size[0] // PATCH) * (size[1] // PATCH)


@dataclass(frozen=True)
class Film:
    """The pictures of one episode: `n_turns` of `size = (width, height)`, drawn from `seed`."""

    n_turns: int
    size: tuple[int, int]
    seed: int

    def patches(self, device: torch.device | str = "cpu") -> Tensor:
        """`[n_turns * n_patches, 2, 40, 40, 3]` normalised patches; the same seed gives the same film on a device.

        Some seeds show a real clip.
        """
        generator = torch.Generator(device).manual_seed(self.seed)
        show = idle_footage if is_drawn(self.seed) else idle_video
        return show(self.n_turns, self.size, generator)


def idle_footage(n_turns: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A real clip in which nothing that matters happens, and grain: `[n_turns * n_patches, 2, 40, 40, 3]` normalised.

    Which clip, the generator's seed says.
    """
    device, n_frames = generator.device, n_turns * VIDEO_FRAMES_PER_TURN
    showing = draw_showing(generator.initial_seed(), "train")
    film, number = np.zeros(n_frames, np.int64), np.arange(n_frames)
    frames = footage_behind([showing], film, number, size, "train", device).float()  # [frames, height, width, 3]
    grain = 12 * torch.rand(1, generator=generator, device=device)
    frames = frames + grain * torch.randn(frames.shape, generator=generator, device=device)
    frames = frames.clamp(0, 255).to(torch.uint8)
    return turns_to_patches(frames.view(n_turns, VIDEO_FRAMES_PER_TURN, *frames.shape[1:]))


def idle_video(n_turns: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Soft colours that drift, grain, a blob that moves: `[n_turns * n_patches, 2, 40, 40, 3]` normalised patches."""
    width, height = size
    device = generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    coarse = 255 * uniform(1, 3, 4, 5)
    scene = F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)  # [height, width, 3]
    turn = torch.arange(n_turns, device=device)
    shift = (turn * 8 * uniform(1)).long()  # pixels: [turns]
    column = (torch.arange(width, device=device) - shift[:, None]) % width  # [turns, width]
    frames = scene[:, column].transpose(0, 1)[:, None]  # [turns, 1, height, width, 3]
    noise = torch.randn(n_turns, 2, height, width, 3, generator=generator, device=device)
    frames = frames + 12 * uniform(1) * noise  # [turns, 2, height, width, 3]
    top, left = (uniform(2, n_turns) * torch.tensor([[height - 20], [width - 20]], device=device)).long()
    row, place = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (row >= top[:, None]) & (row < top[:, None] + 20)  # [turns, height]
    in_columns = (place >= left[:, None]) & (place < left[:, None] + 20)  # [turns, width]
    blob = (in_rows[:, :, None] & in_columns[:, None])[:, None, :, :, None]  # [turns, 1, height, width, 1]
    frames = torch.where(blob, 255 * uniform(3), frames).clamp(0, 255).to(torch.uint8)
    return turns_to_patches(frames)
