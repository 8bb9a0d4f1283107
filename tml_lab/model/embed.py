"""What goes into the backbone: text, dMel, own voice, clock and stream embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import CLOCK_DIGITS, N_BINS
from tml_lab.model.norm import RMSNorm


class TextEmbedding(nn.Module):
    """A token table followed by RMSNorm (Inkling's `InklingNormedEmbedding`)."""

    def __init__(self, vocab_size: int, d_model: int, eps: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(vocab_size, d_model) * 0.5)
        self.norm = RMSNorm(d_model, eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens [n]` -> `[n, d_model]`."""
        return self.norm(F.embedding(tokens, self.table))


class BinEmbedding(nn.Module):
    """One row for each (channel, bin), summed over the channels, then RMSNorm (dMel, arXiv 2407.15835).

    `n_channels` is 80 for what is heard (a 50 ms frame) and 4 x 80 for the own voice (four 12.5 ms frames).
    """

    def __init__(self, n_channels: int, d_model: int, eps: float) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.deterministic = False  # in training too, the sum that a session makes
        self.table = nn.Parameter(smooth_rows(n_channels, d_model) * n_channels**-0.5)
        self.norm = RMSNorm(d_model, eps)
        self.offsets: Tensor
        self.register_buffer("offsets", torch.arange(n_channels) * N_BINS, persistent=False)

    def forward(self, bins: Tensor) -> Tensor:
        """`bins [n, n_channels]` 0..15 -> `[n, d_model]`."""
        rows = bins.long() + self.offsets  # [n, n_channels]
        if self.training and not self.deterministic:
            # a product with a one-hot matrix: several times faster with its gradient
            # (of a multiple of 256 rows: few shapes, each prepared once)
            n_rows = -(-len(bins) // 256) * 256
            one_hot = torch.zeros(n_rows, len(self.table), device=bins.device, dtype=torch.bfloat16)
            one_hot[: len(bins)].scatter_(1, rows, 1.0)
            with torch.autocast(bins.device.type, dtype=torch.bfloat16):
                return self.norm((one_hot @ self.table.to(torch.bfloat16))[: len(bins)].float())
        return self.norm(F.embedding_bag(rows, self.table, mode="sum"))


def clock_digits(turns: Tensor, powers: Tensor) -> Tensor:
    """Decimal digits, lowest first: `turns [n]`, `powers [digits]` (1, 10, 100 ...) -> `[n, digits]`."""
    return (turns[:, None] // powers) % 10


def smooth_rows(n_channels: int, d_model: int, n_waves: int = 20, n_steps: int = 4) -> Tensor:
    """Random rows `[n_channels * 16, d_model]` that change little from one bin, or one channel, to the next.

    A random mixture of slow cosines over channel and bin: loudness has an order and neighbouring bands sound alike,
    which independent rows would have to learn from many recordings.
    """
    channel = (torch.arange(n_channels) + 0.5) / n_channels  # [n_channels] 0..1
    level = (torch.arange(N_BINS) + 0.5) / N_BINS  # [16] 0..1
    over_channels = torch.cos(torch.pi * channel[:, None] * torch.arange(n_waves))  # [n_channels, n_waves]
    over_bins = torch.cos(torch.pi * level[:, None] * torch.arange(1, n_steps + 1))  # [16, n_steps]
    basis = torch.einsum("cw,bs->cbws", over_channels, over_bins / torch.arange(1, n_steps + 1))
    mixture = torch.randn(n_waves * n_steps, d_model)
    rows = basis.reshape(n_channels * N_BINS, -1) @ mixture  # [n_channels * 16, d_model]
    return rows / rows.std()


class ClockEmbedding(nn.Module):
    """The absolute turn number, digit by digit, so that hours are in range: `[n] turns -> [n, d_model]`."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.deterministic = False  # in training too, the sum that a session makes
        self.table = nn.Parameter(torch.randn(CLOCK_DIGITS, 10, d_model) * 0.2)
        self.powers: Tensor
        self.register_buffer("powers", 10 ** torch.arange(CLOCK_DIGITS), persistent=False)

    def forward(self, turns: Tensor) -> Tensor:
        """`turns [n]` -> `[n, d_model]`: the sum of one row for each decimal digit."""
        digits = clock_digits(turns, self.powers)  # [n, CLOCK_DIGITS]
        if self.training and not self.deterministic:  # a product: few rows' gradients from all turns
            with torch.autocast(turns.device.type, enabled=False):
                return F.one_hot(digits, 10).flatten(1).to(self.table.dtype) @ self.table.flatten(0, 1)
        place = torch.arange(CLOCK_DIGITS, device=turns.device)
        return self.table[place, digits].sum(1)
