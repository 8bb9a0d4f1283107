"""What a benchmark is, and who can play it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode


FULL_SIZE = 385  # items: the 95 % interval of a share of .5 is then 5 points wide to either side, of others less


class Player(Protocol):
    """Somebody who can live through episodes: a model, a rival or a reference row."""

    name: str

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        """One emission log per episode, in the same order."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: how its items are drawn and how a set of logs is measured.

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

    def full_size(self, split: str) -> int:
        """Items per family with which the 95 % interval of a share over all families is at most +-5 points."""
        return math.ceil(FULL_SIZE / len(self.items(1, 0, split)))
