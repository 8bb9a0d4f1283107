"""The recorded words of a small lesson: who is in which split, what they can say, and that no engine is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tml_lab.worlds import voices
from tml_lab.worlds.families.cues import Cue, play_cue_scene
from tml_lab.worlds.lexicon import UNITS
from tml_lab.worlds.spoken_words import ENOUGH, WORDS, words_bank
from tml_lab.worlds.stage import open_stage, reply_turn


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing can be synthesised."""
    monkeypatch.setattr(voices, "_engine", lambda name: (None, f"{name} is not here"))


def test_nobody_is_on_two_sides() -> None:
    names = {split: {v.name for v in words_bank(split).voices} for split in ("train", "test", "human")}
    assert (len(names["train"]), len(names["test"]), len(names["human"])) == (44, 16, 2)
    assert not names["train"] & names["test"] and not names["train"] & names["human"]


@pytest.mark.parametrize("split", ["train", "test", "human"])
def test_all_can_say_enough_numbers(split: Any) -> None:
    bank = words_bank(split)
    for voice in bank.voices:
        assert sum(voice.can_say(word) for word in UNITS) >= ENOUGH
        if "/" in voice.name:  # an engine's: nobody else's name has a slash
            assert all(voice.can_say(word) for word in WORDS)


def test_a_word_lasts_as_long_as_a_word() -> None:
    bank = words_bank("test")
    lengths = [len(bank.say("seven", voice, None)) / 16_000 for voice in bank.voices]
    assert min(lengths) > 0.2 and max(lengths) < 1.0


def test_another_split_is_refused() -> None:
    with pytest.raises(ValueError, match="train, test or human"):
        words_bank("all")  # pyright: ignore[reportArgumentType]


def test_a_scene_needs_no_engine_and_is_the_same_for_the_same_seed() -> None:
    def scene() -> Any:
        stage = open_stage(words_bank("human"), np.random.default_rng(3), "human")
        play_cue_scene(stage, "repeat_numbers", Cue(UNITS, lambda word: word, ()))
        return stage.finish("repeat_numbers", 3, noisy=False)

    one, other = scene(), scene()
    assert np.array_equal(one.audio, other.audio) and one.script == other.script
    assert [say.word for say in one.script] == [" ".join(e.words) for e in one.expects]
    assert all(e.words[0] in UNITS for e in one.expects)


def test_a_reply_stands_in_the_first_turn_that_can_know() -> None:
    assert [reply_turn(due, 0.2) for due in (0.0, 0.01, 0.2, 0.4)] == [0, 1, 1, 2]  # 0.4 + 0.2 is over 0.6 as a float
