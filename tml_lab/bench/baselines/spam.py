"""Reference row `spam`: says a random closed answer each second. What a benchmark gives for guessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tml_lab.bench.emissions import Emissions, spoken_as
from tml_lab.config import TURN_SECONDS
from tml_lab.worlds.lexicon import REPLY_WORDS

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode

TURNS_PER_SECOND = round(1 / TURN_SECONDS)


def closed_answers(episode: Episode) -> tuple[str, ...]:
    """All that could be an answer in the episode; every reply word where nothing is expected."""
    answers = {word for expect in episode.expects for word in (" ".join(expect.words), *expect.contrast)}
    return tuple(sorted(answers)) or REPLY_WORDS


class SpamPlayer:
    """One random closed answer a second, from the first second on; its choices depend on the seeds alone."""

    name = "spam"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [self._play_one(episode) for episode in episodes]

    def _play_one(self, episode: Episode) -> Emissions:
        rng = np.random.default_rng([self.seed, episode.seed])
        answers = closed_answers(episode)
        turns = episode.n_turns
        script = [
            (turn, answers[rng.integers(len(answers))])
            for turn in range(TURNS_PER_SECOND - 1, turns, TURNS_PER_SECOND)
        ]
        return spoken_as(turns, script, turns_per_word=2)
