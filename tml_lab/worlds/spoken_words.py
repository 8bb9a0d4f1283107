"""The voices of a small lesson, recorded: eleven numbers and eight other words, each by every speaker.

Where no speech engine is installed there is still a lesson to be given (chapter 07). 34 synthetic voices of training
and the real people of training with them; sixteen synthetic voices of tests. `build_spoken_words` makes the files.
"""

from __future__ import annotations

from typing import Literal

from tml_lab.worlds.humans import human_voices, people_in
from tml_lab.worlds.lexicon import UNITS
from tml_lab.worlds.voices import VoiceBank, recorded_voice

FOLDERS = {"train": "words_train", "test": "words_heldout"}
OTHER_WORDS = ("red", "green", "monday", "friday", "hot", "open", "left", "night")
WORDS = (*UNITS, *OTHER_WORDS)
ENOUGH = 8  # numbers somebody must have recorded to say them here
OFTEN = 2  # a person is met as often as so many synthetic voices: there are few of them


def words_bank(split: Literal["train", "test", "human"]) -> VoiceBank:
    """Everybody of a split who can say the numbers zero to ten: recorded synthetic voices, and people.

    `train`: both; `test`: synthetic voices that training never hears; `human`: people whom it never hears.
    Raises ValueError for another split.
    """
    if split not in ("train", "test", "human"):
        raise ValueError(f"words_bank: split must be train, test or human, not {split!r}")
    recorded = people_in(FOLDERS[split]) if split in FOLDERS else []
    people = [] if split == "test" else human_voices(split)
    able = [person for person in people if sum(person.takes(word) > 0 for word in UNITS) >= ENOUGH]
    voices = [recorded_voice(person) for person in [*recorded, *(OFTEN if split == "train" else 1) * able]]
    return VoiceBank(split, voices)
