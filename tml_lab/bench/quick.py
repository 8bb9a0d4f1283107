"""A quick look while training: the strict score of each family on held-out voices, model only, few items.

scores = quick(model, tokenizer, n=8)
{"repeat_numbers": 0.75, ...}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.fdb import STOP_WITHIN, silent_from
from tml_lab.bench.grading import grade_item
from tml_lab.bench.items import draw
from tml_lab.bench.restraint import FAMILIES as RESTRAINT
from tml_lab.bench.restraint import false_start
from tml_lab.bench.runner import ModelPlayer
from tml_lab.worlds.episode import FAMILIES
from tml_lab.worlds.stage import Episode
from tml_lab.worlds.wordings import WORDINGS

if TYPE_CHECKING:
    from tml_lab.model.interaction import InteractionModel
    from tml_lab.model.text import TextTokenizer


def right(item: Episode, log: Emissions) -> bool:
    """Was everything in this episode done right? Strict, by the family's own rule."""
    words = log.spoken()
    if item.family in RESTRAINT:
        return not false_start(log)
    if item.family == "interrupt":
        return gave_way(item, log) and all(
            grade_item([e], [w for w in words if w.start >= e.due]).strict for e in item.expects
        )
    return grade_item(item.expects, words).strict


def gave_way(item: Episode, log: Emissions) -> bool:
    """Was the model silent within a second of "stop", if somebody said it?"""
    stops = [s.end for s in item.segments if s.role == "user" and s.text in WORDINGS["stop"]]
    return all(silent_from(log, end) - end <= STOP_WITHIN for end in stops)


def quick(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    n: int = 8,
    seed: int = 0,
    split: str = "test",
    families: Sequence[str] = (),
) -> dict[str, float]:
    """Share of `n` episodes of each family in which all was right.

    Args:
        model: in eval mode.
        tokenizer: its own.
        n: episodes per family.
        seed: of the episodes.
        split: `test` or `human`.
        families: names from `FAMILIES`; empty for all (`human`: the number families).
    """
    chosen = list(families) or (list(FAMILIES) if split == "test" else ["repeat_numbers", "next_number"])
    items = draw(chosen, n, seed, split)
    logs = ModelPlayer(model, tokenizer).play(items)
    verdicts = [right(item, log) for item, log in zip(items, logs, strict=True)]
    return {
        family: sum(v for item, v in zip(items, verdicts, strict=True) if item.family == family) / n
        for family in chosen
    }
