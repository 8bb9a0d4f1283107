"""A model that is told what to ask and when: to see a request's way before a model has learned to make one.

    model = told(model, tokenizer, {21: "list add bread"})      the same weights; in turn 21 it asks, as if by itself

In the turns named the decision and the words are imposed by a constant that is added to their logits; everything else
is the weights' own. It shows what happens around a request, and nothing about when a model would make one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from tml_lab.model.interaction import InteractionModel, Tokens
from tml_lab.model.text import AUDIO, DELEGATE, SILENT, TextTokenizer

PUSH = 1e4  # added to a logit: more than any weights can answer


class Told(InteractionModel):
    """Made by `told`; for one conversation at a time."""

    steps: Mapping[int, list[int]]  # by turns: the decision and what follows it, as token ids
    silent: int | None  # the decision of all other turns; None: the weights decide
    turn: int
    ahead: list[int]

    def embed(self, tokens: Tokens) -> Tensor:
        """As every model's; here a new turn is noticed."""
        turn = int(tokens.turn.max())
        if turn != self.turn:
            self.turn = turn
            self.ahead = list(self.steps.get(turn, [] if self.silent is None else [self.silent]))
        return super().embed(tokens)

    def text_logits(self, hidden: Tensor) -> Tensor:
        """As the weights say, with what was told pushed to the top."""
        logits = super().text_logits(hidden)
        if self.ahead:
            logits = logits.clone()
            logits[..., self.ahead.pop(0)] += PUSH
        return logits


def told(model: InteractionModel, tokenizer: TextTokenizer, asks: Mapping[int, str], silent: bool = False) -> Told:
    """The same weights, told to ask.

    Args:
        asks: `{turn: request}`.
        silent: in all other turns it keeps silent; False: there it decides by itself.
    """
    twin = copy.copy(model)
    twin.__class__ = Told
    assert isinstance(twin, Told)
    around = (tokenizer.id(DELEGATE), tokenizer.id(AUDIO))
    twin.steps = {turn: [around[0], *tokenizer.encode(request), around[1]] for turn, request in asks.items()}
    twin.silent, twin.turn, twin.ahead = tokenizer.id(SILENT) if silent else None, -1, []
    return twin
