"""hMLP: a patch of 40x40 pixels and two frames in time becomes one vector (Inkling's `InklingVisionModel`).

Each layer folds neighbouring positions into channels and mixes them with a Linear, so that patches never see
each other. Touvron et al. 2022 (arXiv 2203.09795) used BatchNorm in this stem; a patch's vector would then
depend on the other patches in its batch, so Inkling and we use RMSNorm.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tml_kernels.matmul import matmul
from tml_lab.config import PATCH, VIDEO_FRAMES_PER_TURN
from tml_lab.model.norm import RMSNorm

# (time, space) folds of the four layers: 40 -> 8 -> 4 -> 1 pixels, then 2 -> 1 frames (`plan_out_scales`).
FOLDS = ((1, 5), (1, 2), (1, 4), (2, 1))
_EPS = 1e-6


class FoldLayer(nn.Module):
    """Fold neighbours into channels, then Linear; all layers but the last go on with RMSNorm and GELU."""

    def __init__(self, d_in: int, d_out: int, time: int, space: int, is_last: bool) -> None:
        super().__init__()
        self.time, self.space = time, space
        self.deterministic = False  # a patch's numbers do not depend on how many others there are
        self.projection = nn.Linear(d_in * time * space * space, d_out, bias=False)
        self.norm = None if is_last else RMSNorm(d_out, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        """`x [n, T, H, W, d_in]` -> `[n, T / time, H / space, W / space, d_out]`."""
        folded = fold(x, self.time, self.space)
        x = matmul(folded, self.projection.weight) if self.deterministic else self.projection(folded)
        return x if self.norm is None else F.gelu(self.norm(x))


class HMLP(nn.Module):
    """The vision tower: four `FoldLayer`s and a final RMSNorm.

    Args: d_model, the backbone's width; widths of the three hidden layers (Inkling: 128, 320, 4800).
    """

    def __init__(self, d_model: int, widths: tuple[int, int, int] = (128, 320, 4800)) -> None:
        super().__init__()
        d_in = (3, *widths)
        d_out = (*widths, d_model)
        last = len(FOLDS) - 1
        self.layers = nn.ModuleList(
            FoldLayer(d_in[i], d_out[i], time, space, i == last) for i, (time, space) in enumerate(FOLDS)
        )
        self.norm = RMSNorm(d_model, _EPS)

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised patches f32 `[n, 2, 40, 40, 3]` (see `frames_to_patches`) -> `[n, d_model]`."""
        if patches.shape[1:] != (VIDEO_FRAMES_PER_TURN, PATCH, PATCH, 3):
            raise ValueError(f"patches must have the shape [n, 2, 40, 40, 3], got {list(patches.shape)}")
        x = patches
        for layer in self.layers:
            x = layer(x)
        return self.norm(x.flatten(1))  # [n, 1, 1, 1, d_model] -> [n, d_model]


def fold(x: Tensor, time: int, space: int) -> Tensor:
    """Put each `time x space x space` block into the channels, in the order time, row, column, channel.

    `x [n, T, H, W, c]` -> `[n, T / time, H / space, W / space, time * space * space * c]`.
    """
    n, t, h, w, c = x.shape
    x = x.reshape(n, t // time, time, h // space, space, w // space, space, c)
    x = x.permute(0, 1, 3, 5, 2, 4, 6, 7)  # [n, T', H', W', time, space, space, c]
    return x.reshape(n, t // time, h // space, w // space, time * space * space * c)
