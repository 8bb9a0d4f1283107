"""Reference row `silent`: never speaks. What a benchmark gives for restraint alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tml_lab.bench.emissions import Emissions, silence
from tml_lab.config import TURN_SAMPLES

if TYPE_CHECKING:
    from tml_lab.worlds.episode import Episode


def episode_turns(episode: Episode) -> int:
    """Length of an episode in turns."""
    return len(episode.audio) // TURN_SAMPLES


class SilentPlayer:
    """Says nothing."""

    name = "silent"

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [silence(episode_turns(episode)) for episode in episodes]
