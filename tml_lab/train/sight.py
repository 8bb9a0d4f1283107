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
from tml_lab.worlds.seen.cast import HAPPENINGS, KINDS, happenings
from tml_lab.worlds.seen.film import SceneFilm, end_to_end, scaled

CELL = 5  # pixels
CELLS = PATCH // CELL  # along a patch's edge
N_CELLS = CELLS * CELLS
QUARTERS = 2  # along a patch's edge; each has one colour
N_COLOURS = 3 * QUARTERS * QUARTERS
N_NAMES = len(COLOURS) + len(KINDS) + len(HAPPENINGS)
# covered now, covered a turn ago, brightness, colours, names of what is there and of what happened
WIDTHS = (N_CELLS, N_CELLS, N_CELLS, N_COLOURS, N_NAMES)
NAMED = 4.0  # what a name weighs that is right, against the many that are not
NAMES_WEIGHT = 0.5
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
    there is a shape. And the names of whoever has their middle in the patch (`named`).
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
    names = np.concatenate([named(film) for film in films])
    return torch.cat([drawn, torch.from_numpy(names).to(drawn)], 1)


def named(film: SceneFilm) -> np.ndarray:
    """Which names hold in each patch of a film: float32 `[turns * patches, N_NAMES]`, 0 or 1; -1: nobody knows.

    Colours, then kinds, then what has happened since the turn before; of whoever has their middle there, and of whoever
    has gone, where they were.
    """
    (width, height), script = film.size, film.script
    columns, rows = width // PATCH, height // PATCH
    n_turns = len(script.shapes) // VIDEO_FRAMES_PER_TURN
    if script.cast is None:  # rendered before there were casts
        return np.full((n_turns * rows * columns, N_NAMES), -1.0, np.float32)
    names = np.zeros((n_turns, rows * columns, N_NAMES), np.float32)
    cast = script.cast[VIDEO_FRAMES_PER_TURN - 1 :: VIDEO_FRAMES_PER_TURN].astype(np.float64)  # [turns, members, 5]
    factor = height / VIDEO_SIZE[1]
    across = (width - factor * VIDEO_SIZE[0]) / 2
    column = np.clip((factor * cast[..., 0] + across) // PATCH, 0, columns - 1)
    row = np.clip(factor * cast[..., 1] // PATCH, 0, rows - 1)
    patch = (row * columns + column).astype(np.int64)  # [turns, members]
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
    """Cross-entropy of what is covered and of names, squared error of brightness and colours where something is: a
    scalar.

    `seen [n, sum(WIDTHS)]` from the head, `target` from `scene_targets`.
    """
    now, before, bright, hues, names = seen.float().split(WIDTHS, 1)
    is_now, was, is_bright, is_hue, holds = target.split(WIDTHS, 1)
    places = F.binary_cross_entropy_with_logits(now, is_now) + F.binary_cross_entropy_with_logits(before, was)
    quarter = F.avg_pool2d(is_now.view(-1, 1, CELLS, CELLS), CELLS // QUARTERS).flatten(1)  # [n, 4] share covered
    each = quarter[:, :, None].expand(-1, -1, 3).reshape(len(quarter), N_COLOURS)

    def where(weight: Tensor, error: Tensor) -> Tensor:
        return (weight * error.square()).sum() / weight.sum().clamp(min=1.0)

    known = (holds >= 0).float()
    weight = torch.full((N_NAMES,), NAMED, device=names.device)
    each_name = F.binary_cross_entropy_with_logits(names, holds.clamp(min=0), reduction="none", pos_weight=weight)
    words = (each_name * known).sum() / known[:, 0].sum().clamp(min=1.0)
    return places + where(is_now, bright - is_bright) + where(each, hues - is_hue) + NAMES_WEIGHT * words
