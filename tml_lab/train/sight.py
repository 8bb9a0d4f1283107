"""What training asks of the eyes beside the model's own task: the scene without what lies behind it, patch by patch.

A scene's events are rare, and to speak at one takes three steps at once: to make something out, to compare it with what
was there a turn ago, and to tell the decision. Six minutes on a GPU learned none of them from decisions alone. The
first two are asked for here at every patch of every turn, as the listening head asks for the words heard: where
something is and was, and in words (`tml_lab.worlds.seen.cast`) what is there and what has just happened to it. The head
is the trainer's own: no decision passes through it, and it is not shipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_kernels.draw import draw
from tml_lab.config import PATCH, VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.model.norm import RMSNorm
from tml_lab.worlds.lexicon import COLOURS
from tml_lab.worlds.seen.cast import HAPPENINGS, KINDS, PEOPLE, happenings
from tml_lab.worlds.seen.film import SceneFilm, end_to_end, scaled

CELL = 5  # pixels
CELLS = PATCH // CELL  # along a patch's edge
N_CELLS = CELLS * CELLS
QUARTERS = 2  # along a patch's edge; each has one colour
N_COLOURS = 3 * QUARTERS * QUARTERS
N_NAMES = len(COLOURS) + len(KINDS) + len(HAPPENINGS)
N_PHASES = 2  # how far somebody is into a repetition, now and a turn ago
# covered now, covered a turn ago, brightness, colours, phases, names of what is there and of what happened
WIDTHS = (N_CELLS, N_CELLS, N_CELLS, N_COLOURS, N_PHASES, N_NAMES)
NAMED = 4.0  # what a name weighs that is right, against the many that are not
NAMES_WEIGHT = 0.5
PHASES_WEIGHT = 2.0
RARE = 3.0  # by so much less likely at first is a name than not


def sight_layer(n_layers: int) -> int:
    """The block after which it is asked: in the lower half, so that those above can fetch what was made out."""
    return max(0, n_layers // 2 - 1)


class SightHead(nn.Module):
    """RMSNorm and a linear map from a patch's residual after block `sight_layer` to `[n, sum(WIDTHS)]`."""

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model, eps)
        self.proj = nn.Linear(d_model, sum(WIDTHS))
        with torch.no_grad():  # most names are of something that is not there
            self.proj.bias[-N_NAMES:] -= RARE

    def forward(self, resid: Tensor) -> Tensor:
        """`resid [n, d_model]` -> `[n, sum(WIDTHS)]`."""
        return self.proj(self.norm(resid))


def in_patches(x: Tensor, edge: int) -> Tensor:
    """`[turns, rows * edge, columns * edge, c]` -> `[turns * rows * columns, edge * edge * c]`, in patches' order."""
    turns, height, width, c = x.shape
    x = x.view(turns, height // edge, edge, width // edge, edge, c).transpose(2, 3)
    return x.reshape(-1, edge * edge * c)


def scene_targets(films: Sequence[SceneFilm], device: torch.device | str = "cpu") -> Tensor:
    """What is to be made out in each patch of a batch of films of one size: `[patches, sum(WIDTHS)]`, 0..1.

    Of each turn's last picture: how far shapes cover each cell of 5 x 5 pixels, how far they did a turn ago (at first:
    not at all), how bright they are there, and the colour of each quarter. Brightness and colours mean something where
    there is a shape. And how far whoever ends in the patch is (`phases`), and their names (`named`).
    """
    size = (films[0].size[0] // CELL, films[0].size[1] // CELL)  # one pixel for each cell
    last = [film.script.shapes[VIDEO_FRAMES_PER_TURN - 1 :: VIDEO_FRAMES_PER_TURN] for film in films]  # [turns, n, 11]
    shapes = scaled(end_to_end(last).to(device).float(), size)  # [turns of all, most, 11]
    nothing = torch.zeros(len(shapes), size[1], size[0], 3, device=device)
    colours = draw(nothing, shapes) / 255  # [turns, height, width, 3], darker where less is covered
    shapes[..., 7:10] = 255.0
    covered = draw(nothing, shapes)[..., :1] / 255  # [turns, height, width, 1]
    lengths = [len(shapes) for shapes in last]
    before = torch.cat([F.pad(part, (0, 0, 0, 0, 0, 0, 1, 0))[:-1] for part in covered.split(lengths)])
    bright = colours.mean(-1, keepdim=True) / covered.clamp(min=0.05)
    edge = CELLS // QUARTERS

    def in_quarters(x: Tensor) -> Tensor:  # [turns, height, width, c] -> [turns, height / edge, width / edge, c]
        return F.avg_pool2d(x.permute(0, 3, 1, 2), edge).permute(0, 2, 3, 1)

    hues = in_quarters(colours) / in_quarters(covered).clamp(min=0.02)
    drawn = torch.cat(
        [in_patches(x, e) for x, e in ((covered, CELLS), (before, CELLS), (bright, CELLS), (hues, QUARTERS))], 1
    ).clamp(0, 1)
    told = np.concatenate([np.concatenate([phases(film), named(film)], 1) for film in films])
    return torch.cat([drawn, torch.from_numpy(told).to(drawn)], 1)


def cast_in_patches(film: SceneFilm, cast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A film's cast at the end of each turn, float64 `[turns, members, 6]`, and in which patch each one ends, int64
    `[turns, members]`."""
    width, height = film.size
    last = cast[VIDEO_FRAMES_PER_TURN - 1 :: VIDEO_FRAMES_PER_TURN].astype(np.float64)
    factor = height / VIDEO_SIZE[1]
    across = (width - factor * VIDEO_SIZE[0]) / 2
    column = np.clip((factor * last[..., 0] + across) // PATCH, 0, width // PATCH - 1)
    row = np.clip(factor * last[..., 1] // PATCH, 0, height // PATCH - 1)
    return last, (row * (width // PATCH) + column).astype(np.int64)


def phases(film: SceneFilm) -> np.ndarray:
    """How far the person in each patch of a film is into a repetition, now and a turn ago: float32
    `[turns * patches, 2]`, 0 at rest .. 1 in the far pose; -1: there is nobody, or nobody knows."""
    (width, height), script = film.size, film.script
    n_turns, n_patches = len(script.shapes) // VIDEO_FRAMES_PER_TURN, (width // PATCH) * (height // PATCH)
    told = np.full((n_turns, n_patches, N_PHASES), -1.0, np.float32)
    if script.cast is None:
        return told.reshape(-1, N_PHASES)
    cast, patch = cast_in_patches(film, script.cast)
    somebody = np.isin(cast[..., 3], PEOPLE)  # [turns, members]
    turn = np.broadcast_to(np.arange(n_turns)[:, None], patch.shape)
    far = cast[..., 5]
    before = np.concatenate([far[:1], far[:-1]])  # as in the first turn, before it
    told[turn[somebody], patch[somebody]] = np.stack([far, before], -1)[somebody]
    return told.reshape(-1, N_PHASES)


def named(film: SceneFilm) -> np.ndarray:
    """Which names hold in each patch of a film: float32 `[turns * patches, N_NAMES]`, 0 or 1; -1: nobody knows.

    Colours, then kinds, then what has happened since the turn before; of whoever ends there
    (`tml_lab.worlds.seen.cast`), and of whoever has gone, where they were.
    """
    (width, height), script = film.size, film.script
    columns, rows = width // PATCH, height // PATCH
    n_turns = len(script.shapes) // VIDEO_FRAMES_PER_TURN
    if script.cast is None:  # rendered before there were casts
        return np.full((n_turns * rows * columns, N_NAMES), -1.0, np.float32)
    names = np.zeros((n_turns, rows * columns, N_NAMES), np.float32)
    cast, patch = cast_in_patches(film, script.cast)
    colour, kind = cast[..., 2].astype(np.int64), cast[..., 3].astype(np.int64)
    turn = np.broadcast_to(np.arange(n_turns)[:, None], patch.shape)
    there = kind >= 0
    coloured = there & (colour >= 0)
    names[turn[coloured], patch[coloured], colour[coloured]] = 1
    names[turn[there], patch[there], len(COLOURS) + kind[there]] = 1
    for i, happened in enumerate(np.moveaxis(happenings(cast), -1, 0)):  # [turns, members]
        names[turn[happened], patch[happened], len(COLOURS) + len(KINDS) + i] = 1
    return names.reshape(-1, N_NAMES)


def sight_loss(seen: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of what is covered and of names, squared error of brightness and colours where something is, and of
    phases where somebody is: a scalar.

    `seen [n, sum(WIDTHS)]` from the head, `target` from `scene_targets`.
    """
    now, before, bright, hues, far, names = seen.float().split(WIDTHS, 1)
    is_now, was, is_bright, is_hue, is_far, holds = target.split(WIDTHS, 1)
    places = F.binary_cross_entropy_with_logits(now, is_now) + F.binary_cross_entropy_with_logits(before, was)
    quarter = F.avg_pool2d(is_now.view(-1, 1, CELLS, CELLS), CELLS // QUARTERS).flatten(1)  # [n, 4] share covered
    each = quarter[:, :, None].expand(-1, -1, 3).reshape(len(quarter), N_COLOURS)

    def where(weight: Tensor, error: Tensor) -> Tensor:
        return (weight * error.square()).sum() / weight.sum().clamp(min=1.0)

    known = (holds >= 0).float()
    weight = torch.full((N_NAMES,), NAMED, device=names.device)
    each_name = F.binary_cross_entropy_with_logits(names, holds.clamp(min=0), reduction="none", pos_weight=weight)
    words = (each_name * known).sum() / known[:, 0].sum().clamp(min=1.0)
    somebody = PHASES_WEIGHT * where((is_far >= 0).float(), far - is_far)
    return places + where(is_now, bright - is_bright) + where(each, hues - is_hue) + somebody + NAMES_WEIGHT * words
