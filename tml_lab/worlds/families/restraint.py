"""Scenes in which the right thing is to say nothing."""

from __future__ import annotations

from tml_lab.worlds.families.answers import KINDS
from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.lexicon import COLOURS, FILLER_SENTENCES, NUMBERS, OPPOSITES, OTHERS
from tml_lab.worlds.stage import Stage
from tml_lab.worlds.wordings import ADDRESSED, ASIDES


def question_text(stage: Stage) -> str:
    """Any question the model could answer if it were the one asked."""
    return KINDS[stage.pick(list(KINDS))](stage)[0]


def play_background(stage: Stage) -> None:
    """Other people talk far from the microphone, questions and numbers included."""
    voice = stage.bank.choose(stage.rng, human_share=0.0)
    for _ in range(int(stage.rng.integers(2, 6))):
        kind = stage.rng.uniform()
        if kind < 0.4:
            text = question_text(stage)
        elif kind < 0.6:
            text = stage.pick(NUMBERS)
        else:
            text = stage.pick(FILLER_SENTENCES)
        stage.now = stage.elsewhere(text, stage.now, voice).end
        stage.wait(0.4, 1.5)


def play_others(stage: Stage) -> None:
    """The user talks to somebody else in the room: a name or a kinship word comes first."""
    for _ in range(int(stage.rng.integers(1, 4))):
        text = question_text(stage) if stage.chance(0.6) else stage.pick(ASIDES)
        stage.say(stage.pick(ADDRESSED).format(who=stage.pick(OTHERS), q=text))
        stage.wait(1.0, 2.0)
        if stage.chance(0.4):
            stage.now = stage.elsewhere(stage.pick([*NUMBERS[:11], *COLOURS, *ASIDES]), stage.now).end
            stage.wait(0.6, 1.4)


def play_unasked(stage: Stage) -> None:
    """Talk and single words with no request in them: nobody asked for numbers to be repeated."""
    people = [v for v in stage.bank.voices if v.kind == "human"]
    for _ in range(int(stage.rng.integers(2, 6))):
        kind = stage.rng.uniform()
        if people and kind < 0.3:
            person = stage.pick(people)
            stage.say(stage.pick(stage.bank.human_words(person)), person)
        elif kind < 0.6:
            stage.say(stage.pick([*NUMBERS, *COLOURS, *OPPOSITES]))
        else:
            stage.say(stage.pick([*FILLER_SENTENCES, fragment(stage)]))
        stage.wait(0.5, 1.6)


def play_noise(stage: Stage) -> None:
    """No voice at all: what the channel adds is all there is to hear."""
    stage.wait(4.0, 9.0)
