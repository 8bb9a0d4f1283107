"""Reference row `vad-harness`: the same model behind an ordinary turn-based assistant's endpointer.

The model hears everything, but its decisions are held at `<silent>`. When Silero reports the end of a
turn, the harness makes it `<speak>` once and then lets it go on for as long as it wants. When the user
starts to speak, play back stops. What the harness cannot do is the point of comparing: answer while
somebody speaks, act on a clock, or tell speech that is addressed to it from speech that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tml_lab.bench.baselines.endpointer import ENDPOINT_SILENCE, Endpoints, endpoints
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.force import Force
from tml_lab.bench.runner import play_batched
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer

if TYPE_CHECKING:
    from tml_lab.model.interaction import InteractionModel
    from tml_lab.worlds.stage import Episode

PATIENCE = (
    2  # silent turns inside an answer before the harness takes it for finished: one utterance, as graded
)


def turn_taking(heard: Endpoints) -> Force:
    """The harness as a rule from turn and last decision to the decision imposed."""
    answering = False
    silent_turns = 0

    def force(turn: int, last: str) -> str | None:
        nonlocal answering, silent_turns
        silent_turns = 0 if last == SPEAK else silent_turns + 1
        if answering and (heard.speaking[turn] or silent_turns > PATIENCE):
            answering = False
        if heard.endpoint[turn]:
            answering, silent_turns = True, 0
            return SPEAK
        return None if answering else SILENT

    return force


class VadHarnessPlayer:
    """The model, asked only at endpoints."""

    name = "vad-harness"

    def __init__(
        self,
        model: InteractionModel,
        tokenizer: TextTokenizer,
        silence: float = ENDPOINT_SILENCE,
        batch: int = 16,
    ) -> None:
        self.model, self.tokenizer, self.silence, self.batch = model, tokenizer, silence, batch

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        rules = [turn_taking(endpoints(episode.audio, self.silence)) for episode in episodes]
        return play_batched(self.model, self.tokenizer, episodes, rules, self.batch)
