"""What a benchmark is, and who can play it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, grade_item

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode


FULL_SIZE = 385  # items: the 95 % interval of a share of .5 is then 5 points wide to either side, of others less


class Player(Protocol):
    """Somebody who can live through episodes: a model, a rival or a reference row."""

    name: str

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        """One emission log per episode, in the same order."""
        ...


def strictly(item: Episode, log: Emissions) -> list[str]:
    """`strict`, where something due was missed, or an answer said where none was due; else nothing."""
    return [] if grade_item(item.expects, log.spoken()).strict else ["strict"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: how its items are drawn, how a set of logs is measured, and when one item is wrong.

    Attributes:
        name: as typed on the command line.
        title: as printed.
        items: `(n, seed, split) -> episodes`; n is the number of items per family.
        measure: `(episodes, logs, seed) -> metric name -> Estimate`.
        headline: the metric that stands for the benchmark.
        goals: what the shipped nano must reach, per metric, e.g. `{"strict": ">= 0.90"}`.
        anchors: others' figures on the full-size originals; shown, never claimed as comparable.
        splits: which splits it has items for.
        rows: who plays in the model's place, given model and tokenizer: the same weights, used in several ways.
        paired: `(episodes, logs, logs of the first of rows, seed) -> metrics`: each item beside itself undisturbed, and
            no reference rows.
        fails: `(episode, log) -> names of the figures by which this item counts as wrong`; none: it is right.
        full: items per family of a full run, where not all items, or not so many of each family, stand behind every
            headline figure; None: they do.
    """

    name: str
    title: str
    items: Callable[[int, int, str], list[Episode]]
    measure: Callable[[Sequence[Episode], Sequence[Emissions], int], dict[str, Estimate]]
    headline: str
    goals: Mapping[str, str] = field(default_factory=dict)
    anchors: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ("test",)
    rows: Callable[[Any, Any], Sequence[Player]] | None = None
    paired: (
        Callable[[Sequence[Episode], Sequence[Emissions], Sequence[Emissions], int], dict[str, Estimate]] | None
    ) = None
    fails: Callable[[Episode, Emissions], list[str]] = strictly
    full: int | None = None

    def full_size(self, split: str) -> int:
        """Items per family with which the headline and each share that has a goal stand on `FULL_SIZE` items or more.

        Its 95 % interval is then at most +-5 points. A figure of one family, or a median, may have a wider one.
        """
        return self.full or math.ceil(FULL_SIZE / len(self.items(1, 0, split)))
