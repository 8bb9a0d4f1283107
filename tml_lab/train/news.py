"""What training asks at the end of each turn with pictures: what is new in them, whether or not anybody wants to know.

`tml_lab.train.sight` asks each patch what lies in it. To speak at an event the end of the turn, where the decision
falls, has to gather that from all patches, and to tell what is new from what was there before; a scene's request makes
only the one or other event a lesson in it. Here every event is one. The head is the trainer's own and is not shipped.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import VIDEO_FRAMES_PER_TURN
from tml_lab.model.norm import RMSNorm
from tml_lab.train.sight import NAMED, RARE
from tml_lab.worlds.lexicon import COLOURS
from tml_lab.worlds.seen.cast import HAPPENINGS, KINDS, happenings
from tml_lab.worlds.seen.scene import Script

COMES, CHANGES = HAPPENINGS.index("comes"), HAPPENINGS.index("takes another colour")
# the colours and the kinds of what has come, the colours that something has taken, what has happened at all
N_NEWS = len(COLOURS) + len(KINDS) + len(COLOURS) + len(HAPPENINGS)


def news_layer(n_layers: int) -> int:
    """The block after which it is asked: the last but one, so that the last can decide by it."""
    return max(0, n_layers - 2)


class NewsHead(nn.Module):
    """RMSNorm and a linear map from the residual at the end of a turn to `[n, N_NEWS]`."""

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model, eps)
        self.proj = nn.Linear(d_model, N_NEWS)
        with torch.no_grad():
            self.proj.bias.sub_(RARE)

    def forward(self, resid: Tensor) -> Tensor:
        """`resid [n, d_model]` -> `[n, N_NEWS]`."""
        return self.proj(self.norm(resid))


def news(script: Script) -> np.ndarray:
    """What is new in each turn of a scene: float32 `[turns, N_NEWS]`, 0 or 1; -1: nobody knows."""
    n_turns = len(script.shapes) // VIDEO_FRAMES_PER_TURN
    if script.cast is None:  # rendered before there were casts
        return np.full((n_turns, N_NEWS), -1.0, np.float32)
    cast = script.cast[VIDEO_FRAMES_PER_TURN - 1 :: VIDEO_FRAMES_PER_TURN]  # [turns, members, 5]
    colour, kind = cast[..., 2].astype(np.int64), cast[..., 3].astype(np.int64)  # each [turns, members]
    happened = happenings(cast)  # [turns, members, 8]
    came, changed = happened[..., COMES], happened[..., CHANGES]
    found = (
        _any_of(colour, came, len(COLOURS)), _any_of(kind, came, len(KINDS)), _any_of(colour, changed, len(COLOURS)),
        happened.any(1),
    )  # fmt: skip
    return np.concatenate(found, 1).astype(np.float32)


def _any_of(name: np.ndarray, holds: np.ndarray, n: int) -> np.ndarray:
    """Which of `n` names hold for any member: `name, holds [turns, members]` -> bool `[turns, n]`."""
    return ((name[..., None] == np.arange(n)) & holds[..., None]).any(1)


def news_loss(told: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy summed over names, a turn's mean: a scalar. `told [n, N_NEWS]` of the head, `target` of `news`."""
    known = (target >= 0).float()
    weight = torch.full((N_NEWS,), NAMED, device=told.device)
    each = F.binary_cross_entropy_with_logits(told.float(), target.clamp(min=0), reduction="none", pos_weight=weight)
    return (each * known).sum() / known[:, 0].sum().clamp(min=1.0)
