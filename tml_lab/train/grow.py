"""A trained model of another size, to be trained on: with more words, fewer, a longer reach, or the eyes of another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    return _like(model, state, vocab_size=larger.size), larger


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
    return _like(model, state, vocab_size=smaller.size), smaller


def widen(model: InteractionModel, window: int, rel_extent: int) -> InteractionModel:
    """The same model, whose local layers see `window` tokens and whose global ones tell `rel_extent` distances apart.

    A distance that was out of sight or without a bias gets the bias of the farthest that had one: what a query makes of
    it is training's to find out. Raises ValueError for a window or an extent smaller than the model's.
    """
    cfg = model.cfg
    if window < cfg.window or rel_extent < cfg.rel_extent:
        raise ValueError(
            f"a window of {window} and distances up to {rel_extent} would lose weights: this model has "
            f"{cfg.window} and {cfg.rel_extent}, and can only be given more"
        )
    state = model.state_dict()
    for i, kind in enumerate(cfg.layer_types):
        name = f"backbone.blocks.{i}.attn.rel"  # [d_rel, extent]
        extent = window if kind == "local" else rel_extent
        farthest = state[name][:, -1:]  # [d_rel, 1]
        state[name] = torch.cat([state[name], farthest.expand(-1, extent - state[name].shape[1])], 1)
    return _like(model, state, window=window, rel_extent=rel_extent)


def with_eyes_of(model: InteractionModel, donor: InteractionModel, seed: int = 0) -> InteractionModel:
    """The same model with the eyes of another one, which sees: its embedding of patches, of whatever widths.

    A model that is wider than the donor is told the same in its further dimensions, turned at random (an orthogonal
    map). Which of that matters, its other layers have to learn. Raises ValueError for a model narrower than the donor.
    """
    mine, theirs = model.cfg.d_model, donor.cfg.d_model
    if mine < theirs:
        raise ValueError(f"eyes of a model {theirs} wide do not fit into one {mine} wide: lend those of a smaller one")
    generator = torch.Generator().manual_seed(seed)
    eyes = {name: tensor.cpu() for name, tensor in donor.embed_video.state_dict().items()}
    *_, last, norm = eyes  # the map to d_model [d_model, patch's features], and the norm after it [d_model]
    shown, gain = [eyes[last]], [eyes[norm]]
    while len(shown) * theirs < mine:
        turned, _ = torch.linalg.qr(torch.randn(theirs, theirs, generator=generator))
        shown, gain = [*shown, turned @ eyes[last]], [*gain, eyes[norm]]
    eyes |= {last: torch.cat(shown)[:mine], norm: torch.cat(gain)[:mine]}
    state = model.state_dict() | {f"embed_video.{name}": tensor for name, tensor in eyes.items()}
    return _like(model, state, hmlp_widths=donor.cfg.hmlp_widths)


def _like(model: InteractionModel, state: dict[str, Tensor], **sizes: Any) -> InteractionModel:
    """The model with these weights, of other sizes."""
    other = InteractionModel(model.cfg.with_(**sizes))
    other.load_state_dict(state)
    return other.to(next(model.parameters()).device).train(model.training)
