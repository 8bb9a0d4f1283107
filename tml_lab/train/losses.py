"""What is asked of the model: the next text token, and the flow head's velocity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import TrainConfig
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.listen import listen_loss
from tml_lab.model.text import SPECIALS
from tml_lab.stream.layout import NO_TARGET, Stream
from tml_lab.train.feed import Batch
from tml_lab.train.sight import SightHead, sight_layer, sight_loss

PADDED = 256  # what a batch has any number of is filled up to multiples of this: products of a few shapes only


def filled_up(index: Tensor, multiple: int = PADDED) -> tuple[Tensor, Tensor]:
    """`index [n]` with position 0 repeated behind it up to a multiple, at least one; which entries count: `[n']`."""
    missing = max(1, -(-len(index) // multiple)) * multiple - len(index)
    counts = torch.ones(len(index) + missing, device=index.device)
    counts[len(index) :] = 0.0
    return torch.cat([index, index.new_zeros(missing)]), counts


@contextmanager
def residual_after(model: InteractionModel, layer: int) -> Iterator[list[Tensor]]:
    """A list that receives the residual stream after one block during the forward inside the `with`."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, out: Tensor) -> None:
        seen.append(out)

    handle = model.backbone.blocks[layer].register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def token_weights(target: Tensor, silent: int, silent_weight: float, word_weight: float) -> Tensor:
    """What each answer weighs in the loss: `silent_weight` a silent decision, `word_weight` a word, 1 the rest.

    Most decisions are to stay silent: at full weight the model would learn to say nothing. Words are rare and carry the
    content. `target [n]` text ids, of which those from `len(SPECIALS)` on are words. Returns float32 `[n]`.
    """
    is_word = target >= len(SPECIALS)
    return torch.where(target == silent, silent_weight, torch.where(is_word, word_weight, 1.0))


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The mean of the answers' cross-entropies, each as often as it weighs; 0 where nothing weighs anything.

    `logits [n, vocab]`, `target [n]` ids or NO_TARGET, `weight [n]` float32. Returns a scalar.
    """
    each = F.cross_entropy(logits, target, reduction="none", ignore_index=NO_TARGET)  # [n]
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def losses(
    model: InteractionModel, batch: Batch, silent_id: int, cfg: TrainConfig, generator: torch.Generator,
    head: SightHead | None = None,
) -> dict[str, Tensor]:
    """`text`: weighted cross-entropy of decisions and words; `flow`: mean squared error of the velocity;
    `listen`: CTC of the words heard; with a `head`, `sight`: what is made out of scenes, 0 where there are none.
    """
    rows, n = batch.shape
    x = model.embed(batch.tokens).view(rows, n, -1)  # [batch, tokens, d_model]
    early = sight_layer(model.cfg.n_layers)
    with residual_after(model, model.cfg.listen_layer) as middle, residual_after(model, early) as resid_early:
        hidden = model(x).reshape(rows * n, -1)  # [batch * tokens, d_model]
    frames = F.pad(batch.frames, (0, -batch.frames.shape[1] % 64))  # [batch, frames]
    resid = middle[0].reshape(rows * n, -1).index_select(0, frames.flatten())  # [batch * frames, d_model]
    listen = listen_loss(model.listen(resid).view(*frames.shape, -1), batch.n_frames, batch.words, batch.n_words)
    asked, counts = filled_up((batch.target != NO_TARGET).nonzero(as_tuple=True)[0])
    target = batch.target[asked]
    logits = model.text_logits(hidden.index_select(0, asked)).float()  # [asked, vocab]
    weight = token_weights(target, silent_id, cfg.silent_weight, cfg.word_weight) * counts
    text = weighted_cross_entropy(logits, target, weight)
    where, counts_voice = filled_up(batch.voice_from)
    speech = F.pad(batch.voice_target, (0, 0, 0, len(where) - len(batch.voice_target)))
    flow = model.flow.loss(hidden.index_select(0, where).float(), speech, generator, weight=counts_voice)
    sight = {} if head is None else {"sight": _sight(head, resid_early[0].reshape(rows * n, -1), batch)}
    with torch.no_grad():
        right = logits.argmax(-1) == target
        is_word = (target >= len(SPECIALS)) & (counts > 0)
        silent = (target == silent_id) & (counts > 0)
        speaks = ~silent & (counts > 0)
    return {
        "text": text,
        "flow": flow,
        "listen": listen,
        **sight,
        "right_silent": right[silent].float().mean(),
        "right_speak": right[speaks].float().mean(),
        "right_word": right[is_word].float().mean(),
    }


def _sight(head: SightHead, resid: Tensor, batch: Batch) -> Tensor:
    """The eyes' loss of a batch: `resid [batch * tokens, d_model]`; 0 without scenes."""
    if batch.sight is None:
        return resid.sum() * 0.0
    where, _ = filled_up((batch.tokens.stream == Stream.VIDEO_IN).nonzero(as_tuple=True)[0])
    seen = head(resid.index_select(0, where))[: len(batch.sight)]  # [patches, sum(WIDTHS)]
    return sight_loss(seen, batch.sight)
