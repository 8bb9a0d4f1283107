"""Reference row `silent`: never speaks. What a benchmark gives for restraint alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tml_lab.bench.emissions import Emissions, silence

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode


class SilentPlayer:
    """Says nothing."""

    name = "silent"

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [silence(episode.n_turns) for episode in episodes]
