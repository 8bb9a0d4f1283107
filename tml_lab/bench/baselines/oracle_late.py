"""Reference row `oracle-late`: the gold, one micro-turn late. What the windows leave to a slow genius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tml_lab.bench.emissions import SILENT, SPEAK, Emissions

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode


class OracleLatePlayer:
    """Follows the episode's script, words and silences alike, `late` turns after their time."""

    def __init__(self, late: int = 1) -> None:
        self.late = late
        self.name = "oracle-late" if late == 1 else f"oracle+{late}"

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [self._play_one(episode) for episode in episodes]

    def _play_one(self, episode: Episode) -> Emissions:
        turns = episode.n_turns
        words = tuple(
            (say.turn + self.late, say.word) for say in episode.script if say.turn + self.late < turns
        )
        sounding = {turn + self.late for turn in episode.speaking}
        decisions = tuple(SPEAK if turn in sounding else SILENT for turn in range(turns))
        return Emissions(turns, words, decisions, requests=tuple(episode.requests))
