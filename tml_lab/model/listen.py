"""The listening head: which words were heard, read off a middle layer.

It is trained beside the model's own task, where it gives every word of the user a target although no alignment is
known (connectionist temporal classification, Graves et al. 2006). It only looks: no decision passes through it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import ModelConfig
from tml_lab.model.norm import RMSNorm

BLANK = 0  # the id of <pad>


class ListenHead(nn.Module):
    """RMSNorm and a linear map from the residual after block `listen_layer` to words, one guess per dMel frame."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(cfg.d_model, cfg.rms_eps)
        self.proj = nn.Linear(cfg.d_model, cfg.vocab_size)

    def forward(self, resid: Tensor) -> Tensor:
        """`resid [..., d_model]` at audio_in positions -> logits `[..., vocab_size]`; id 0 is the blank."""
        return self.proj(self.norm(resid))


def listen_loss(logits: Tensor, n_frames: Tensor, words: Tensor, n_words: Tensor) -> Tensor:
    """CTC loss per heard word; that a row holds no more of them counts as one, so that rows without any weigh little.

    `logits [batch, frames, vocab_size]`, of which `n_frames [batch]` count; `words` all rows' word ids end to end,
    `n_words [batch]` of each.
    """
    log_probs = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)  # [frames, batch, vocab]
    total = F.ctc_loss(log_probs, words, n_frames, n_words, blank=BLANK, reduction="sum", zero_infinity=True)
    return total / (n_words.sum() + len(n_words))


def read_words(guesses: list[int], last: int = BLANK) -> tuple[list[int], int]:
    """Greedy CTC: new word ids among the frames' best guesses, and the guess to go on from in the next call."""
    words = []
    for guess in guesses:
        if guess not in (BLANK, last):
            words.append(guess)
        last = guess
    return words, last


@torch.no_grad()
def next_words(head: ListenHead, frames: Tensor, last: int = BLANK) -> tuple[list[int], int]:
    """What the head hears in `frames [k, d_model]`, residuals after its block: see `read_words`."""
    return read_words(head(frames).argmax(-1).tolist(), last)
