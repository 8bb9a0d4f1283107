"""From scenes' scripts to pictures, on any device: a backdrop, the shapes, light and grain.

All films of a batch are painted together, since on a GPU a hundred films one by one would cost thousands of launches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.draw import BOX, CAPSULE, draw
from tml_lab.config import VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.signal.patches import turns_to_patches
from tml_lab.worlds.seen.footage import draw_showing, footage_behind, is_drawn
from tml_lab.worlds.seen.scene import Script

SIZES = (VIDEO_SIZE, VIDEO_SIZE, (120, 80))  # width, height in which a scene can be shown whole: 12, 12, 6 patches
CHUNK = 64  # frames painted at once, what fits into the caches; on a GPU 64 times as many. No picture depends on it
ROWS, COLUMNS = 4, 6  # of the coarse picture that a backdrop is made of
_MANNERS = 7  # floor, where it begins, drift, light (three colours), grain


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


def end_to_end(parts: Sequence[np.ndarray]) -> Tensor:
    """Shapes of several films, `[frames, n, 11]` each, one film after the other: `[all frames, most, 11]`.

    A film with fewer shapes is filled up with shapes of kind 0, which paint nothing.
    """
    most = max(part.shape[1] for part in parts)
    padded = [np.pad(part, ((0, 0), (0, most - part.shape[1]), (0, 0))) for part in parts]
    return torch.from_numpy(np.concatenate(padded))


def draw_look(seed: int, plain: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A backdrop and a light: coarse colours `[4 + 1, 6, 3]`, the last row's first the floor's; their use `[7]`.

    From a plain wall to a jumble; half of them with a floor; a third drifts to one side. `plain`: a nearly grey wall in
    even light, where what happens is easy to make out.
    """
    rng = np.random.default_rng(seed)
    if plain:
        wall = 255 * (rng.uniform(0.15, 0.85) + rng.uniform(-0.1, 0.1, 3))
        even = [0.0, 0.8, 0.0, 1.0, 1.0, 1.0, 3 * rng.uniform()]
        return np.full((ROWS + 1, COLUMNS, 3), wall, np.float32), np.array(even, np.float32)
    jumble = 0.15 + 0.85 * rng.uniform()
    colours = 255 * (jumble * rng.uniform(size=(ROWS + 1, COLUMNS, 3)) + (1 - jumble) * rng.uniform(size=3))
    floor = float(rng.uniform() < 0.5)
    drift = (rng.uniform(-1.5, 1.5)) * (rng.uniform() < 0.3)  # pixels a frame
    light = rng.uniform(0.7, 1.2) * rng.uniform(0.94, 1.06, 3)
    manners = [floor, rng.uniform(0.7, 0.95), drift, *light, 10 * rng.uniform() ** 2]
    return colours.astype(np.float32), np.array(manners, np.float32)


def backdrops(colours: Tensor, manners: Tensor, film: Tensor, frame: Tensor, size: tuple[int, int]) -> Tensor:
    """What stands behind each of `n` frames: `[n, height, width, 3]` float32, 0..255.

    `colours [films, 5, 6, 3]`, `manners [films, 7]`; `film [n]` whose frame it is, `frame [n]` its number there.
    """
    width, height = size
    device = colours.device
    wall = F.interpolate(colours[:, :ROWS].permute(0, 3, 1, 2), (height, width), mode="bilinear")  # [films, 3, H, W]
    row = torch.arange(height, device=device)[:, None]
    below = (row > height * manners[:, None, 1:2]) & (manners[:, None, :1] > 0)  # [films, height, 1]
    scene = torch.where(below[..., None], colours[:, ROWS, None, :1], wall.permute(0, 2, 3, 1))  # [films, H, W, 3]
    shift = (frame * manners[film, 2]).long()  # pixels: [n]
    column = (torch.arange(width, device=device) - shift[:, None]) % width  # [n, width]
    return scene[film[:, None, None], row, column[:, None]]  # [n, height, width, 3]


def chunks(scripts: Sequence[Script], size: tuple[int, int], device: torch.device | str, seed: int,
           behind: Tensor | None = None) -> Iterator[Tensor]:  # fmt: skip
    """The films end to end, some frames at a time: uint8 `[frames, height, width, 3]`; `seed` of the grain."""
    device = torch.device(device)
    looks = [draw_look(script.seed, script.plain) for script in scripts]
    colours, manners = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*looks, strict=True))
    shapes = end_to_end([script.shapes for script in scripts]).to(device)  # [frames, most, 11] float16
    lengths = [len(script.shapes) for script in scripts]
    films = np.repeat(np.arange(len(scripts)), lengths)  # [frames]
    frames = np.concatenate([np.arange(n) for n in lengths])
    film, frame = torch.from_numpy(films).to(device), torch.from_numpy(frames).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    step = CHUNK * (64 if device.type == "cuda" else 1)
    for start in range(0, len(shapes), step):
        now = slice(start, start + step)
        if behind is not None:
            canvas = behind[now].to(device)
        elif any(scripts[i].footage for i in np.unique(films[now])):
            canvas = mixed_backdrops(scripts, colours, manners, films[now], frames[now], size)
        else:
            canvas = backdrops(colours, manners, film[now], frame[now], size)
        drawn = draw(canvas, scaled(shapes[now].float(), size))
        light, grain = manners[film[now], 3:6], manners[film[now], 6]
        noise = torch.randn(drawn.shape, generator=generator, device=device)
        lit = drawn * light[:, None, None] + grain[:, None, None, None] * noise
        yield lit.clamp(0, 255).to(torch.uint8)


def mixed_backdrops(scripts: Sequence[Script], colours: Tensor, manners: Tensor, films: np.ndarray,
                    frames: np.ndarray, size: tuple[int, int]) -> Tensor:  # fmt: skip
    """As `backdrops`, real clips behind those films that stand before one; `films [n]`, `frames [n]` on the host."""
    device = colours.device
    canvas = torch.empty(len(films), size[1], size[0], 3, device=device)
    for split in {script.footage for script in scripts}:
        mine = [i for i, script in enumerate(scripts) if script.footage == split]
        here = np.flatnonzero(np.isin(films, mine))
        if not len(here):
            continue
        if split is None:
            film, frame = torch.from_numpy(films[here]).to(device), torch.from_numpy(frames[here]).to(device)
            seen = backdrops(colours, manners, film, frame, size)  # [frames here, height, width, 3]
        else:
            showings = [draw_showing(scripts[i].seed, split) for i in mine]
            seen = footage_behind(showings, np.searchsorted(mine, films[here]), frames[here], size, split, device)
        canvas[torch.from_numpy(here).to(device)] = seen.float()
    return canvas


def pictures(script: Script, size: tuple[int, int], device: torch.device | str = "cpu",
             behind: Tensor | None = None) -> Tensor:  # fmt: skip
    """One whole film: uint8 `[frames, height, width, 3]`; the same script gives the same film on a device.

    `behind`: what is seen instead of a drawn backdrop, float32 of the film's shape, 0..255.
    """
    none = torch.zeros(0, size[1], size[0], 3, dtype=torch.uint8, device=device)
    return torch.cat([none, *chunks([script], size, device, script.seed, behind)])


@dataclass(frozen=True)
class SceneFilm:
    """The pictures of one episode whose scene matters, in a size of picture: as `tml_lab.train.pictures.Film`."""

    size: tuple[int, int]
    script: Script


def scene_patches(films: Sequence[SceneFilm], device: torch.device | str = "cpu") -> Tensor:
    """All films of a batch, one after the other, all of one size: `[turns * n_patches, 2, 40, 40, 3]` normalised.

    Some of them stand before a real clip of training's: as their seed says, so each time another one.
    """
    width, height = films[0].size
    scripts = [film.script if film.script.footage or film.script.plain or not is_drawn(film.script.seed)
               else film.script.before_footage("train") for film in films]  # fmt: skip
    pairs = [
        turns_to_patches(some.view(-1, VIDEO_FRAMES_PER_TURN, height, width, 3))
        for some in chunks(scripts, films[0].size, device, scripts[0].seed)
    ]
    return torch.cat(pairs)
