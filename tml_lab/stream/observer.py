"""An observer: sees, and may change, what a session computes inside, while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from torch import Tensor

from tml_lab.model.tap import Tap
from tml_lab.stream.tokens import TokenTable


@dataclass(frozen=True, eq=False)
class Piece:
    """The positions of one forward: what a session appends to its sequence at once.

    Args:
        start: absolute position of the first of them.
        tokens: one row for each.
        table: gives the rows of all positions so far, these included.
    """

    start: int
    tokens: TokenTable
    table: Callable[[], TokenTable]

    @cached_property
    def so_far(self) -> TokenTable:
        """One row for each position of the sequence up to and including these."""
        return self.table()

    @cached_property
    def pos(self) -> np.ndarray:
        """int64 [n]: absolute positions."""
        return np.arange(self.start, self.start + len(self.tokens))

    @staticmethod
    def whole(tokens: TokenTable) -> Piece:
        """A sequence in one forward."""
        return Piece(0, tokens, lambda: tokens)


class Observer(Protocol):
    """What `Session.observer` must offer; called in this order for each forward."""

    def embedded(self, x: Tensor, piece: Piece) -> Tensor:
        """The embeddings `[n, d_model]`, or others in their place."""
        ...

    def taps(self, piece: Piece) -> dict[int, Tap]:
        """The tap of each layer that is looked at."""
        ...

    def finished(self, hidden: Tensor, piece: Piece) -> Tensor:
        """The normalised hidden states `[n, d_model]` that decide, or others in their place."""
        ...
