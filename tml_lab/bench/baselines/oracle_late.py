"""Reference row `oracle-late`: the gold, one micro-turn late. What the windows leave to a slow genius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tml_lab.bench.baselines.silent import episode_turns
from tml_lab.bench.emissions import Emissions, spoken_as

if TYPE_CHECKING:
    from tml_lab.worlds.episode import Episode


class OracleLatePlayer:
    """Follows the episode's script, every word `late` turns after its time."""

    def __init__(self, late: int = 1) -> None:
        self.late = late
        self.name = "oracle-late" if late == 1 else f"oracle+{late}"

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [
            spoken_as(episode_turns(episode), [(say.turn + self.late, say.word) for say in episode.script], 2)
            for episode in episodes
        ]
