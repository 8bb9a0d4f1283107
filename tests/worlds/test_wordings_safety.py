"""Refusals in other words: training's and the tests' are apart, no word is new, and what is right in them is said."""

from __future__ import annotations

import re

import pytest

from tml_lab.bench.emissions import spoken_as
from tml_lab.bench.safety import refuses
from tml_lab.worlds.curriculum import training_episode
from tml_lab.worlds.episode import FURTHER, TESTED, episode
from tml_lab.worlds.families.safety import REFUSAL
from tml_lab.worlds.lexicon import COLOUR_OF, COLOURS
from tml_lab.worlds.stage import Episode
from tml_lab.worlds.vocabulary import closed_world
from tml_lab.worlds.voices import VoiceBank
from tml_lab.worlds.wordings_more import HARM, HARMLESS_COLOURS, HARMLESS_REMINDERS, PUSHES, REFUSED
from tml_lab.worlds.wordings_safety import HELD_OUT, TRAINED, SafetyWordings

TELLING = {*HARM, "hurt", "steal", "break", "hide", "make", "build", "buy", "brother", "car", "house", "money",
           "somebody", "help", "give", "knife"}  # fmt: skip


@pytest.fixture(scope="module")
def bank() -> VoiceBank:
    return VoiceBank.open("train", quiet=True)


def words(text: str) -> set[str]:
    return set(re.sub(r"\{.*?\}", " ", text).split())


def texts(scene: Episode) -> list[str]:
    """What the user says and types, in order."""
    said = [(s.start, s.text) for s in scene.segments if s.role == "user"]
    return [text for _, text in sorted(said + [(0.2 * turn, text) for turn, text in scene.typed])]


def filled(wordings: SafetyWordings) -> set[str]:
    return {text.format(x=x, n="{n}") for text in wordings.texts() for x in HARM}


def test_tests_say_what_training_never_says() -> None:
    trained = {*filled(TRAINED), *PUSHES, *HARMLESS_COLOURS, *HARMLESS_REMINDERS}
    assert set(REFUSED) <= set(TRAINED.refused) and not trained & filled(HELD_OUT)
    for side in (TRAINED, HELD_OUT):
        assert len(set(side.texts())) == len(side.texts())


def test_no_word_is_new() -> None:
    world = set(closed_world())
    for side in (TRAINED, HELD_OUT):
        assert {word for text in side.texts() for word in words(text)} <= world


@pytest.mark.parametrize("side", [TRAINED, HELD_OUT], ids=["trained", "held out"])
def test_every_look_alike_shares_a_word_with_what_is_refused_and_has_one_answer(side: SafetyWordings) -> None:
    for text in side.harmless():
        assert words(text) & TELLING, text
        assert text not in side.refused
    for thing, colour in side.colours.items():
        known = [c for name, c in COLOUR_OF.items() if set(name.split()) - {"a", "the"} <= words(thing)]
        assert known == [colour] and colour in COLOURS and not words(thing) & set(COLOURS), thing


@pytest.mark.parametrize("family", ["pushed", "refused_reworded"])
def test_whoever_pushes_is_refused_each_time_politely_or_rudely(family: str, bank: VoiceBank) -> None:
    side = TRAINED if family == "pushed" else HELD_OUT
    asked = {text.format(x=x) for text in side.refused for x in HARM}
    for seed in range(4):
        scene = episode(family, seed, "train", bank)
        said = texts(scene)
        pushes = [text for text in said if text in {*side.polite, *side.rude}]
        requests = [text for text in said if text in asked]
        assert requests and len(pushes) >= 2 * len(requests)
        assert set(said) & set(side.polite) and set(said) & set(side.rude)
        assert sum(e.words == REFUSAL for e in scene.expects) == len(pushes) + len(requests)


@pytest.mark.parametrize("family", ["look_alikes", "harmless_reworded"])
def test_look_alikes_are_answered_or_left_alone_and_never_refused(family: str, bank: VoiceBank) -> None:
    side = TRAINED if family == "look_alikes" else HELD_OUT
    quiet = answered = 0
    for seed in range(8):
        scene = episode(family, seed, "train", bank)
        asks_nothing = {*side.ordinary, *side.talk, *side.polite, *side.rude}
        silent = [text for text in texts(scene) if text in asks_nothing]
        assert len(scene.expects) == len(texts(scene)) - len(silent)
        log = spoken_as(scene.n_turns, [(s.turn, s.word) for s in scene.script], turns_per_word=2)
        assert not refuses(log.spoken())
        quiet, answered = quiet + len(silent), answered + len(scene.expects)
    assert quiet and answered


def test_training_meets_the_trained_ones_alone(bank: VoiceBank) -> None:
    assert {"look_alikes", "pushed"} <= set(FURTHER) and {"refused_reworded", "harmless_reworded"} <= set(TESTED)
    held_out = filled(HELD_OUT)
    for seed in range(30):
        assert not set(texts(training_episode(seed, bank, "further"))) & held_out
