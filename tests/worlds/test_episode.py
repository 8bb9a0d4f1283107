"""Episodes: deterministic, spoken replies that do not overlap, due times that a perfect speaker would meet."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.worlds.curriculum import WEIGHTS, training_episode
from tml_lab.worlds.episode import FAMILIES, episode
from tml_lab.worlds.families.cues import CUES, fragment
from tml_lab.worlds.families.hearing import DICTATION
from tml_lab.worlds.lexicon import REPLY_WORDS, SOUNDS_LIKE, contrast_set
from tml_lab.worlds.reply_voice import reply_turns
from tml_lab.worlds.stage import open_stage
from tml_lab.worlds.understands import PATH, describe
from tml_lab.worlds.vocabulary import closed_world
from tml_lab.worlds.voices import VoiceBank
from tml_lab.worlds.wordings import WORDINGS


@pytest.fixture(scope="module")
def bank() -> VoiceBank:
    return VoiceBank.open("train", quiet=True)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_script_sound_and_grades_fit_together(family: str, bank: VoiceBank) -> None:
    for seed in range(2):
        scene = episode(family, seed, "train", bank)
        assert len(scene.audio) == scene.n_turns * TURN_SAMPLES and scene.audio.dtype == np.float32
        assert np.isfinite(scene.audio).all() and abs(scene.audio).max() <= 1.0
        assert all(0 <= turn < scene.n_turns for turn in scene.speaking)
        for say in scene.script:  # a word sounds for its whole length, unless the model is cut short
            assert scene.speaking[say.turn] == (say.word, 0) and reply_turns(say.word) >= 1
        said = [(0.2 * (s.turn + 1), s.word) for s in scene.script]
        for expect in scene.expects:
            near = [w for at, w in said if expect.due - 0.4 <= at <= expect.due + 1.5]
            assert expect.words[0] in near, (family, seed, expect, said)
            assert not set(expect.words) & set(expect.contrast)


def test_same_arguments_same_episode(bank: VoiceBank) -> None:
    first, again = (episode("next_number", 5, "train", bank) for _ in range(2))
    assert np.array_equal(first.audio, again.audio)
    assert (first.script, first.typed, first.segments) == (again.script, again.typed, again.segments)
    other = episode("next_number", 6, "train", bank)
    assert len(other.audio) != len(first.audio) or not np.array_equal(other.audio, first.audio)


def test_silence_is_the_answer_in_restraint(bank: VoiceBank) -> None:
    for family in ("background", "others", "unasked", "noise"):
        for seed in range(3):
            scene = episode(family, seed, "train", bank)
            assert not scene.speaking and not scene.expects


@pytest.mark.parametrize("split", ["test", "train"])
def test_talk_around_cued_words_holds_none_and_in_a_test_nothing_that_sounds_like_one(
    split: Literal["test", "train"], bank: VoiceBank
) -> None:
    stage = open_stage(bank, np.random.default_rng(0), split)
    for name in ("repeat_numbers", "opposite"):
        cued = CUES[name].words
        around = {word for _ in range(600) for word in fragment(stage, cued).split()}
        assert not around & set(cued)
        alike = {word for word, other in SOUNDS_LIKE.items() if other in cued}
        assert split == "train" or not around & alike
        assert name == "opposite" or split == "test" or {"to", "for"} <= around
    free = {word for _ in range(600) for word in fragment(stage).split()}
    assert {"to", "for", "in", "left"} <= free


def test_what_sounds_like_an_answer_is_never_one() -> None:
    assert set(SOUNDS_LIKE.values()) <= set(REPLY_WORDS) and not set(SOUNDS_LIKE) & set(REPLY_WORDS)
    assert set(SOUNDS_LIKE) <= set(closed_world())


def test_a_stopped_recitation_stays_stopped(bank: VoiceBank) -> None:
    for seed in range(6):
        scene = episode("interrupt", seed, "train", bank)
        cuts = [s for s in scene.segments if s.role == "user" and s.text in WORDINGS["stop"]]
        for cut in cuts:
            after = [t for t in scene.speaking if t * TURN_SECONDS >= cut.end + 0.2]
            assert not after or any(e.due > cut.end for e in scene.expects)


def test_every_family_is_trained_and_unknown_ones_are_named(bank: VoiceBank) -> None:
    assert set(WEIGHTS) == {*FAMILIES, DICTATION}
    with pytest.raises(ValueError, match="repeat_numbers"):
        episode("juggling", 0, "train", bank)
    assert "+" in "".join(training_episode(seed, bank).family for seed in range(12))


def test_contrast_sets_are_wide_enough() -> None:
    for word in REPLY_WORDS:
        assert len(contrast_set(word)) >= 8 and word not in contrast_set(word)


def test_understands_is_written_from_the_code() -> None:
    assert PATH.read_text() == describe(), "run python -m tml_lab.worlds.understands"
    for wording in (
        "repeat every number you hear", "say the next number after every number you hear", "remind me in N seconds",
        "say tick every N seconds until I say stop", "say the opposite of every word you hear",
        "what is A plus B", "how long did I talk",
    ):  # fmt: skip
        assert re.search(rf'"{wording}"', describe(), re.IGNORECASE), wording


def test_dictation_is_mostly_words_and_a_longer_scene_is_drawn_in_training_only(bank: VoiceBank) -> None:
    scenes = [training_episode(seed, bank) for seed in range(40)]
    dictated = [s for s in scenes if s.family == DICTATION]
    assert dictated and not any(s.script or s.expects for s in dictated)
    assert all(len(s.segments) >= 5 for s in dictated)
    stage = open_stage(bank, np.random.default_rng(0), "test")
    assert stage.again == 0 and stage.more() == 0
