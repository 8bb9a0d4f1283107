"""What is asked of the model: the next text token, and the flow head's velocity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import ModelConfig, TrainConfig
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.listen import listen_loss
from tml_lab.model.text import SPECIALS
from tml_lab.stream.layout import NO_TARGET, Stream
from tml_lab.train.ahead import ahead_loss, next_words
from tml_lab.train.feed import Batch
from tml_lab.train.sight import sight_layer, sight_loss

PADDED = 256  # what a batch has any number of is filled up to multiples of this: products of a few shapes only


def filled_up(index: Tensor, multiple: int = PADDED) -> tuple[Tensor, Tensor]:
    """`index [n]` with position 0 repeated behind it up to a multiple, at least one; which entries count: `[n']`."""
    missing = max(1, -(-len(index) // multiple)) * multiple - len(index)
    counts = torch.ones(len(index) + missing, device=index.device)
    counts[len(index) :] = 0.0
    return torch.cat([index, index.new_zeros(missing)]), counts


@contextmanager
def residuals_after(model: InteractionModel, layers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """Receives the residual stream after some blocks, block by block, during the forward inside the `with`."""
    seen: dict[int, Tensor] = {}

    def keeps(layer: int) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_module: nn.Module, _inputs: object, out: Tensor) -> None:
            seen[layer] = out

        return keep

    handles = [model.backbone.blocks[layer].register_forward_hook(keeps(layer)) for layer in {*layers}]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def token_weights(target: Tensor, silent: int, silent_weight: float, word_weight: float) -> Tensor:
    """What each answer weighs in the loss: `silent_weight` a silent decision, `word_weight` a word, 1 the rest.

    Most decisions are to stay silent: at full weight the model would learn to say nothing. Words are rare and carry the
    content. `target [n]` text ids, of which those from `len(SPECIALS)` on are words. Returns float32 `[n]`.
    """
    is_word = target >= len(SPECIALS)
    return torch.where(target == silent, silent_weight, torch.where(is_word, word_weight, 1.0))


def onsets(target: Tensor, silent: int) -> Tensor:
    """Which answers are the decision to begin something, rather than to go on: bool `[n]`.

    `target [n]` text ids in the order of their positions: behind such a decision stands a word. Not among them: turns
    in which something is due still, and begins later (`tml_lab.train.overdue`); there are more of these.
    """
    is_word = target >= len(SPECIALS)
    return (target != silent) & ~is_word & F.pad(is_word[1:], (0, 1))


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The mean of the answers' cross-entropies, each as often as it weighs; 0 where nothing weighs anything.

    `logits [n, vocab]`, `target [n]` ids or NO_TARGET, `weight [n]` float32. Returns a scalar.
    """
    each = F.cross_entropy(logits, target, reduction="none", ignore_index=NO_TARGET)  # [n]
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def losses(
    model: InteractionModel, batch: Batch, silent_id: int, cfg: TrainConfig, generator: torch.Generator,
    heads: nn.ModuleDict | None = None,
) -> dict[str, Tensor]:
    """`text`: weighted cross-entropy of decisions and words; `flow`: mean squared error of the velocity;
    `listen`: CTC of the words heard; and what each of the trainer's own `heads` is asked for: `sight`, what
    is made out of scenes, 0 where there are none; `ahead`, the word after the one that is said.
    """
    rows, n = batch.shape
    x = model.embed(batch.tokens).view(rows, n, -1)  # [batch, tokens, d_model]
    layers = asked_after(model.cfg)
    with residuals_after(model, layers.values()) as resid:
        hidden = model(x).reshape(rows * n, -1)  # [batch * tokens, d_model]
    below = {name: resid[layer].reshape(rows * n, -1) for name, layer in layers.items()}  # [batch * tokens, d_model]
    heads = nn.ModuleDict() if heads is None else heads
    beside = _beside(model, batch, heads, below)
    asked, counts = filled_up((batch.target != NO_TARGET).nonzero(as_tuple=True)[0])
    target = batch.target[asked]
    logits = model.text_logits(hidden.index_select(0, asked)).float()  # [asked, vocab]
    begins = onsets(target, silent_id)
    weight = token_weights(target, silent_id, cfg.silent_weight, cfg.word_weight)
    weight = torch.where(begins, cfg.onset_weight, weight) * counts
    text = weighted_cross_entropy(logits, target, weight)
    if "ahead" in heads:
        real = asked[counts > 0]
        here, then = next_words(batch.target[real], real // n)
        ahead = heads["ahead"](hidden.index_select(0, real[here]))  # [k, d_model]
        beside["ahead"] = ahead_loss(model.text_logits(ahead).float(), then)
    where, counts_voice = filled_up(batch.voice_from)
    speech = F.pad(batch.voice_target, (0, 0, 0, len(where) - len(batch.voice_target)))
    flow = model.flow.loss(hidden.index_select(0, where).float(), speech, generator, weight=counts_voice)
    with torch.no_grad():
        right = logits.argmax(-1) == target
        is_word = (target >= len(SPECIALS)) & (counts > 0)
        silent = (target == silent_id) & (counts > 0)
        speaks = ~silent & (counts > 0)
    return {
        "text": text,
        "flow": flow,
        **beside,
        "right_silent": right[silent].float().mean(),
        "right_speak": right[speaks].float().mean(),
        "right_word": right[is_word].float().mean(),
        "right_onset": right[begins & (counts > 0)].float().mean(),
    }


def asked_after(cfg: ModelConfig) -> dict[str, int]:
    """After which block each thing is asked that is asked of lower layers."""
    return {"listen": cfg.listen_layer, "sight": sight_layer(cfg.n_layers)}


def _beside(model: InteractionModel, batch: Batch, heads: nn.ModuleDict, below: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is asked of lower layers; `below`: each one's residual `[batch * tokens, d_model]`."""
    words = model.listen(_heard(below["listen"], batch))  # [batch, frames, vocab]
    found = {"listen": listen_loss(words, batch.n_frames, batch.words, batch.n_words)}
    if "sight" in heads:
        found["sight"] = _sight(heads["sight"], below["sight"], batch)
    return found


def _heard(resid: Tensor, batch: Batch) -> Tensor:
    """The residual `[batch * tokens, d_model]` at each row's frames: `[batch, frames, d_model]`, filled up to 64s."""
    frames = F.pad(batch.frames, (0, -batch.frames.shape[1] % 64))  # [batch, frames]
    return resid.index_select(0, frames.flatten()).view(*frames.shape, -1)


def _sight(head: nn.Module, resid: Tensor, batch: Batch) -> Tensor:
    """The eyes' loss of a batch: `resid [batch * tokens, d_model]`; 0 without scenes."""
    if batch.sight is None:
        return resid.sum() * 0.0
    where, _ = filled_up((batch.tokens.stream == Stream.VIDEO_IN).nonzero(as_tuple=True)[0])
    seen = head(resid.index_select(0, where))[: len(batch.sight)]  # [patches, sum(WIDTHS)]
    return sight_loss(seen, batch.sight)
