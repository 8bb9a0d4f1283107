"""What training asks of a word beside the word: which one the reply goes on with.

A reply of several words ("red ball") is about something that was new when it began and is not when its second word is
due. Whoever looked only for the first then has to find it again. Asked for the next word, too, the model fetches all
of it at once, and keeps it. The head is the trainer's own and is not shipped.

Source: multi-token prediction, Gloeckle et al. 2024; here for words of one reply, one word ahead.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.model.norm import RMSNorm
from tml_lab.model.text import AUDIO, SPECIALS


class AheadHead(nn.Module):
    """From the hidden state that gives a word to the one that would give the next: RMSNorm, a linear map, and the state
    itself; at first nothing but the state."""

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model, eps)
        self.proj = nn.Linear(d_model, d_model)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """`hidden [n, d_model]` -> `[n, d_model]`, for the model's own unembedding."""
        return hidden + self.proj(self.norm(hidden))


def next_words(target: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Which answers are words with another one behind them in the same reply, and that one: indices and ids, `[k]`.

    `target [n]` text ids in the order of their positions, `row [n]` of the batch. A reply is over with a turn in which
    nothing is said: its decision is all there is of it, be that one to be silent or to begin what begins later
    (`tml_lab.train.overdue`).
    """
    is_word = target >= len(SPECIALS)
    goes_on = is_word | (target == SPECIALS.index(AUDIO))
    nothing_said = (~goes_on & ~F.pad(goes_on[1:], (0, 1))).cumsum(0)  # turns without a word or a sound up to here
    at = is_word.nonzero(as_tuple=True)[0]  # [words]
    here, then = at[:-1], at[1:]
    one_reply = (row[here] == row[then]) & (nothing_said[here] == nothing_said[then])
    return here[one_reply], target[then[one_reply]]


def ahead_loss(logits: Tensor, words: Tensor) -> Tensor:
    """Cross-entropy of `logits [k, vocab]` with the next words `[k]`; 0 where no reply has two."""
    if not len(words):
        return logits.sum() * 0.0
    return F.cross_entropy(logits, words)
