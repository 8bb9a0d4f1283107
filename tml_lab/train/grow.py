"""More words for a model that is trained already: its own keep their ids and their weights; or fewer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer

TABLES = ("embed_text.table", "unembed.weight", "listen.proj.weight", "listen.proj.bias")  # a row for each word


def grow(
    model: InteractionModel, tokenizer: TextTokenizer, words: Iterable[str], seed: int = 0
) -> tuple[InteractionModel, TextTokenizer]:
    """The same model with a row more in each table for every word that its vocabulary lacks, in alphabetical order.

    A new word is read, said and heard as an average one, a little off: what is said by the old model is hardly moved
    by it, and training tells it from the others. Returns both as they were when nothing is missing.
    """
    larger = tokenizer.with_words(words)
    more = larger.size - tokenizer.size
    if not more:
        return model, tokenizer
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for name in TABLES:
        old = state[name].cpu()
        spread = old.std(0, keepdim=True) * torch.randn(more, *old.shape[1:], generator=generator)
        average = old.mean(0, keepdim=True).expand(more, *old.shape[1:])
        if name == "listen.proj.bias":
            average = old.min().expand(more)  # a word that was never heard is the least likely one
        state[name] = torch.cat([old, average + 0.3 * spread.reshape(average.shape)])
    return _like(model, state, larger.size), larger


def shrink(
    model: InteractionModel, tokenizer: TextTokenizer, words: Iterable[str]
) -> tuple[InteractionModel, TextTokenizer]:
    """The same model with no other whole words than `words`, each with the weights it had.

    For one that was given words which its lesson never used. Raises KeyError naming a word that it does not know.
    """
    smaller = TextTokenizer.build(words)
    rows = torch.tensor([tokenizer.id(name) for name in smaller.names])
    state = model.state_dict()
    state |= {name: state[name].cpu()[rows] for name in TABLES}
    return _like(model, state, smaller.size), smaller


def _like(model: InteractionModel, state: dict[str, Tensor], vocab_size: int) -> InteractionModel:
    """The model with these weights, of another number of words."""
    other = InteractionModel(model.cfg.with_(vocab_size=vocab_size))
    other.load_state_dict(state)
    return other.to(next(model.parameters()).device).train(model.training)
