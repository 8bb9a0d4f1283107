"""Turn-taking while the model has the floor, and while the user has it."""

from __future__ import annotations

import math

from tml_lab.config import TURN_SECONDS
from tml_lab.worlds.families.answers import KINDS, ask_and_answer
from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.lexicon import DAYS, FILLER_SENTENCES, LEAD, NUMBERS, OTHERS
from tml_lab.worlds.stage import SETTLED, Stage
from tml_lab.worlds.wordings import ADDRESSED, ASIDES, BACKCHANNELS_OF_USER, WORDINGS

GIVE_WAY = 0.5  # seconds of real talk over the model after which it falls silent


def start_reciting(stage: Stage) -> tuple[float, float]:
    """Ask for a list; returns the seconds at which it starts and ends if nothing happens."""
    name = stage.pick(("count", "days"))
    words = NUMBERS[1:11] if name == "count" else DAYS
    asked = stage.ask(name)
    over = stage.reply(words, asked, "answer", margin=SETTLED)
    return asked + 0.6, over


def play_recite_on(stage: Stage) -> None:
    """As `play_recite`; the user may also say something to somebody else meanwhile."""
    play_recite(stage, to_others=0.5)


def play_recite(stage: Stage, to_others: float = 0.0) -> None:
    """The model recites; the user murmurs assent or somebody far away talks, and it goes on to the end."""
    start, over = start_reciting(stage)
    stage.now = start + float(stage.rng.uniform(0.6, 1.5))
    while stage.now < over - 1.2 and stage.chance(0.7):
        if to_others and stage.chance(to_others):
            stage.say(stage.pick(ADDRESSED).format(who=stage.pick(OTHERS), q=stage.pick(ASIDES)))
        elif stage.chance(0.6):
            stage.say(stage.pick(BACKCHANNELS_OF_USER))
        else:
            stage.now = stage.elsewhere(fragment(stage), stage.now).end
        stage.wait(0.6, 1.6)
    stage.now = over
    stage.wait(0.4, 1.0)


def play_interrupt(stage: Stage) -> None:
    """The model recites and is interrupted: by "stop", or by a question that it then answers."""
    start, over = start_reciting(stage)
    stage.expects.clear()  # the list is not finished: what counts is the stop and the answer
    stage.now = start + float(stage.rng.uniform(0.5, max(0.7, over - start - 2.0)))
    if stage.chance(0.5):
        segment = stage.say(stage.pick(WORDINGS["stop"]))
        stage.hush(math.ceil((segment.end + 0.08) / TURN_SECONDS) - 1)
        stage.wait(1.0, 2.0)
        if stage.chance(0.4):
            ask_and_answer(stage, KINDS["arithmetic"](stage))
        return
    text, answer, contrast = KINDS[stage.pick(list(KINDS))](stage)
    segment = stage.say(text)
    stage.hush(math.ceil((segment.start + GIVE_WAY) / TURN_SECONDS) - 1)
    stage.reply((answer,), segment.end, "answer", margin=SETTLED, contrast=contrast, lead=LEAD)
    stage.after_reply(0.4, 1.0)


def play_story(stage: Stage) -> None:
    """A long story: at each pause after a sentence the model says "yeah", and never more."""
    stage.ask("story", typed=0.1)
    stage.wait(0.5, 0.9)
    for _ in range(int(stage.rng.integers(2, 5))):
        end = stage.say(stage.pick(FILLER_SENTENCES)).end
        stage.reply(("yeah",), end, "backchannel", margin=0.22)
        stage.now = max(stage.now, (stage.free_turn + 1) * TURN_SECONDS - 0.2)
        stage.wait(0.1, 0.8)
