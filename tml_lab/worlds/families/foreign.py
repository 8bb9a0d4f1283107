"""Words of other languages, translated as they are heard, while the user goes on talking."""

from __future__ import annotations

from tml_lab.worlds.families.cues import Cue, play_cue_scene
from tml_lab.worlds.lexicon import DAYS, FRENCH, GERMAN, ITALIAN, NUMBERS
from tml_lab.worlds.stage import Stage

FOREIGN: dict[str, Cue] = {
    "french": Cue(tuple(FRENCH), lambda w: FRENCH[w], NUMBERS[11:], "fr"),
    "german": Cue(tuple(GERMAN), lambda w: GERMAN[w], NUMBERS[11:], "de"),
    "italian": Cue(tuple(ITALIAN), lambda w: ITALIAN[w], DAYS, "it"),
}


def play_foreign(stage: Stage, name: str) -> None:
    """The instruction, then words of that language among distractors."""
    play_cue_scene(stage, name, FOREIGN[name])
