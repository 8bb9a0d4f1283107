"""Exercises of notebooks/07_learning_when_to_speak.ipynb."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import TURN_SECONDS
from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.model.text import SPECIALS
from tml_lab.stream.layout import NO_TARGET

WORD = len(SPECIALS)  # the first id that is a word


def _moments(seed: int) -> tuple[float, float]:
    """When something was due and how much quiet is to be heard after it; ends of turns among them."""
    if seed < 4:
        return ((1.0, 0.2), (0.11, 0.0), (0.4, 0.2), (2.2, 0.55))[seed]  # 0.4 + 0.2 is more than 0.6, as floats go
    due, margin = torch.rand(2, generator=torch.Generator().manual_seed(seed)).tolist()
    return round(20 * due, 2), (0.2, 0.3, 0.55)[int(3 * margin)]


ch07_reply_turn = Exercise(
    module="tml_lab.worlds.stage",
    attribute="reply_turn",
    cases=_moments,
    hints=(
        "Turn n has heard everything up to 0.2 (n + 1) seconds. Which is the first n for which that is enough?",
        "n + 1 is at least (due + margin) / TURN_SECONDS: round up, then take one off.",
        "math.ceil((due + margin) / TURN_SECONDS - 1e-6) - 1; the millionth, because 0.4 + 0.2 is a little over 0.6.",
    ),
    mistakes=(
        Mistake(
            lambda due, margin: math.ceil((due + margin) / TURN_SECONDS) - 1,
            "nearly: as floats 0.4 + 0.2 is a little more than three turns; take 1e-6 off before rounding up",
        ),
        Mistake(
            lambda due, margin: math.ceil((due + margin) / TURN_SECONDS - 1e-6),
            "one turn late: turn n is complete at 0.2 (n + 1), not at 0.2 n",
        ),
        Mistake(
            lambda due, margin: math.floor((due + margin) / TURN_SECONDS + 1e-6) - 1,
            "too early: this turn ends before the quiet has been heard, the model would have to guess; round up",
        ),
        Mistake(
            lambda due, margin: math.ceil(due / TURN_SECONDS - 1e-6) - 1,
            "the word is over, but nobody knows that yet: margin seconds of quiet must have been heard",
        ),
    ),
)


def _targets(seed: int) -> tuple[Tensor, int, float, float]:
    """Ids of all kinds, the first and the last special ones and the first word among them."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, WORD + 6, (8 + seed,), generator=generator)
    target[:4] = torch.tensor([1, 2, WORD - 1, WORD])
    return target, 1, (0.3, 1.0, 0.0, 0.05)[seed % 4], (4.0, 1.5)[seed % 2]


def _weigh(target: Tensor, silent: int, silent_weight: float, word_weight: float, first: int = WORD) -> Tensor:
    weight = torch.ones(len(target))
    weight[target >= first] = word_weight
    weight[target == silent] = silent_weight
    return weight


ch07_token_weights = Exercise(
    module="tml_lab.train.losses",
    attribute="token_weights",
    cases=_targets,
    hints=(
        "Three kinds of answers: the id `silent`; words, whose ids come after all special ones; and the rest.",
        "How many special ids are there? len(SPECIALS): the first word has that id.",
        "torch.where(target == silent, silent_weight, torch.where(target >= len(SPECIALS), word_weight, 1.0))",
    ),
    mistakes=(
        Mistake(lambda t, s, ws, ww: _weigh(t, s, ws, ww, WORD + 1), "the first word's id is len(SPECIALS): >=, not >"),
        Mistake(lambda t, s, ws, ww: _weigh(t, s, ws, ww, s + 1), "only words weigh word_weight; <speak> weighs 1"),
        Mistake(lambda t, s, ws, ww: _weigh(t, s, ws, 1.0), "words are rare and carry the content: word_weight"),
        Mistake(
            lambda t, s, ws, ww: _weigh(t, s, ws, ww) / _weigh(t, s, ws, ww).sum(),
            "not normalised here: the loss divides by the sum of the weights",
        ),
        Mistake(
            lambda t, s, ws, ww: torch.where(t != s, ws, torch.where(t >= WORD, ww, 1.0)),
            "it is the silent decisions that weigh silent_weight, not the others",
        ),
    ),
)


def _answers(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets of which some ask for nothing, and weights, in one case all zero."""
    generator = torch.Generator().manual_seed(seed)
    n, vocab = 3 + seed, 4 + seed % 5
    target = torch.randint(0, vocab, (n,), generator=generator)
    weight = torch.rand(n, generator=generator) * 4
    if seed % 3 == 1:
        target[1], weight[1] = NO_TARGET, 0.0
    if seed == 5:
        weight[:] = 0.0
    return 3 * torch.randn(n, vocab, generator=generator), target, weight


def _each(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none", ignore_index=NO_TARGET)


ch07_weighted_cross_entropy = Exercise(
    module="tml_lab.train.losses",
    attribute="weighted_cross_entropy",
    cases=_answers,
    atol=1e-5,
    hints=(
        "First a loss for each answer, without a mean: F.cross_entropy(..., reduction='none').",
        "A weighted mean: the sum of loss times weight, divided by the sum of the weights. ignore_index=NO_TARGET.",
        "(each * weight).sum() / weight.sum().clamp(min=1e-6): where nothing weighs anything the loss is 0, not NaN.",
    ),
    mistakes=(
        Mistake(
            lambda logits, target, weight: (_each(logits, target) * weight).mean(),
            "divide by the sum of the weights, not by how many there are: else a silent batch has next to no loss",
        ),
        Mistake(
            lambda logits, target, weight: (_each(logits, target) * weight).sum(),
            "this is a sum: it grows with the batch; divide by the sum of the weights",
        ),
        Mistake(
            lambda logits, target, weight: _each(logits, target).mean(),
            "the weights are not used: silence counts as much as a word",
        ),
        Mistake(
            lambda logits, target, weight: (_each(logits, target) * weight).sum() / weight.sum(),
            "where nothing weighs anything this is 0 / 0: clamp the divisor",
        ),
        Mistake(
            lambda logits, target, weight: (_each(logits.softmax(-1), target) * weight).sum()
            / weight.sum().clamp(min=1e-6),
            "F.cross_entropy wants logits: it takes the softmax itself",
        ),
    ),
)
