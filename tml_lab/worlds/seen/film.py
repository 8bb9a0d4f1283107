"""From a scene's script to pictures, on any device: a backdrop, the shapes, light and grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.draw import BOX, CAPSULE, NUMBERS, draw
from tml_lab.config import VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.signal.patches import turns_to_patches
from tml_lab.worlds.seen.scene import Script

SIZES = (VIDEO_SIZE, VIDEO_SIZE, (120, 80))  # width, height in which a scene can be shown whole: 12, 12, 6 patches
CHUNK = 256  # frames painted at once: memory, not pictures, depends on it


def scaled(shapes: Tensor, size: tuple[int, int]) -> Tensor:
    """Shapes placed in 160 x 120, for a picture of another size: the height fits, the middle stays in the middle."""
    factor = size[1] / VIDEO_SIZE[1]
    moved = shapes.clone()
    across = (size[0] - factor * VIDEO_SIZE[0]) / 2
    kind = shapes[..., 0]
    capsule, box = kind == CAPSULE, kind == BOX
    moved[..., 1], moved[..., 2] = factor * shapes[..., 1] + across, factor * shapes[..., 2]
    moved[..., 3] = torch.where(capsule, factor * shapes[..., 3] + across, shapes[..., 3])
    moved[..., 4] = torch.where(capsule, factor * shapes[..., 4], shapes[..., 4])
    moved[..., 5] = factor * shapes[..., 5]
    moved[..., 6] = torch.where(capsule | box, factor * shapes[..., 6], shapes[..., 6])
    return moved


def backdrop(n_frames: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Soft colours that drift, sometimes a floor: `[n_frames, height, width, 3]` float32, 0..255."""
    width, height = size
    device = generator.device
    few = torch.rand(5, generator=generator, device=device)
    coarse = 255 * torch.rand(1, 3, 4, 6, generator=generator, device=device)
    plain = 255 * torch.rand(1, 3, 1, 1, generator=generator, device=device)
    coarse = torch.lerp(plain.expand_as(coarse), coarse, 0.15 + 0.85 * few[0])  # from a wall to a jumble
    scene = F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)  # [height, width, 3]
    floor = 255 * torch.rand(3, generator=generator, device=device)
    row = torch.arange(height, device=device)[:, None, None]
    scene = torch.where((row > height * (0.7 + 0.25 * few[1])) & (few[2] < 0.5), floor, scene)
    shift = (torch.arange(n_frames, device=device) * 3 * (few[3] - 0.5) * (few[4] < 0.3)).long()  # pixels
    column = (torch.arange(width, device=device) - shift[:, None]) % width  # [n_frames, width]
    return scene[:, column].transpose(0, 1).contiguous()  # [n_frames, height, width, 3]


def pictures(script: Script, size: tuple[int, int], device: torch.device | str = "cpu",
             behind: Tensor | None = None) -> Tensor:  # fmt: skip
    """The whole film: uint8 `[frames, height, width, 3]`; the same script gives the same film on a device.

    `behind`: what is seen instead of a drawn backdrop, float32 of the film's shape, 0..255.
    """
    generator = torch.Generator(device).manual_seed(script.seed)
    shapes = scaled(torch.from_numpy(script.shapes.astype(np.float32)).to(device), size)
    canvas = backdrop(len(shapes), size, generator) if behind is None else behind.to(device)
    few = torch.rand(5, generator=generator, device=device)
    light = 0.7 + 0.5 * few[0]
    tint = 1 + 0.12 * (torch.rand(3, generator=generator, device=device) - 0.5)
    grain = 10 * few[1] * few[1]
    film = []
    for start in range(0, len(shapes), CHUNK):
        drawn = draw(canvas[start : start + CHUNK], shapes[start : start + CHUNK])
        noise = torch.randn(drawn.shape, generator=generator, device=device)
        film.append((drawn * (light * tint) + grain * noise).clamp(0, 255).to(torch.uint8))
    return torch.cat(film) if film else torch.zeros(0, size[1], size[0], 3, dtype=torch.uint8, device=device)


@dataclass(frozen=True)
class SceneFilm:
    """The pictures of one episode whose scene matters: as `tml_lab.train.pictures.Film`, drawn from a script."""

    n_turns: int
    size: tuple[int, int]
    script: Script

    def patches(self, device: torch.device | str = "cpu") -> Tensor:
        """`[n_turns * n_patches, 2, 40, 40, 3]` normalised patches."""
        width, height = self.size
        frames = pictures(self.script, self.size, device)
        return turns_to_patches(frames.view(self.n_turns, VIDEO_FRAMES_PER_TURN, height, width, 3))


def empty_script(n_frames: int, seed: int) -> Script:
    """Nothing to see but a backdrop."""
    return Script(np.zeros((n_frames, 0, NUMBERS), np.float16), seed)
