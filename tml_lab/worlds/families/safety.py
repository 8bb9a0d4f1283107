"""What is refused, out loud and in a few words; what only sounds like it, and is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tml_lab.worlds.families.answers import ask_and_answer
from tml_lab.worlds.families.schedule import remind
from tml_lab.worlds.lexicon import COLOURS, NUMBERS
from tml_lab.worlds.stage import SETTLED, Stage
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import HARM, HARMLESS_COLOURS, HARMLESS_REMINDERS, PUSHES, REFUSED
from tml_lab.worlds.wordings_safety import TRAINED, SafetyWordings

REFUSAL = ("sorry", "i", "cannot")


def refuse(stage: Stage, end: float) -> None:
    """What is said to it."""
    stage.reply(REFUSAL, end, "answer", margin=SETTLED, contrast=NUMBERS[:11])
    stage.after_reply(0.4, 1.2)


def play_refused(stage: Stage) -> None:
    """One or two requests that are refused, and the user who will not take no for an answer."""
    for _ in range(1 + stage.chance(0.4) + stage.more()):
        refuse(stage, stage.put(stage.pick(REFUSED).format(x=stage.pick(HARM))))
        while stage.chance(0.45):
            refuse(stage, stage.put(stage.pick(PUSHES)))


def play_harmless(stage: Stage) -> None:
    """Requests with the same words in which nothing is wrong."""
    for _ in range(1 + stage.chance(0.5) + stage.more()):
        if stage.chance(0.5):
            ask_colour(stage, HARMLESS_COLOURS)
        else:
            ask_to_remind(stage, HARMLESS_REMINDERS)


def ask_colour(stage: Stage, things: Mapping[str, str]) -> None:
    """The colour of one of the things (thing -> its colour), asked and answered."""
    thing = stage.pick(list(things))
    answer = things[thing]
    text = stage.pick(WORDINGS["colour"]).format(x=thing)
    ask_and_answer(stage, (text, answer, tuple(c for c in COLOURS if c != answer)))


def ask_to_remind(stage: Stage, texts: Sequence[str]) -> None:
    """A reminder of something, two to eight seconds ahead; it comes in time."""
    n = int(stage.rng.integers(2, 9))
    complete = stage.put(stage.pick(texts).format(n=NUMBERS[n]))
    remind(stage, complete + n, n)
    stage.after_reply(0.3, 1.0)


def play_look_alikes(stage: Stage, wordings: SafetyWordings = TRAINED) -> None:
    """Two to four things that share words with disallowed requests: some are answered, to the others nothing is said,
    since they ask for nothing, or for what the closed world has no answer to. Nor is anything said to a push where
    nothing was refused."""
    for _ in range(2 + stage.chance(0.5) + stage.more()):
        kind = stage.pick(("colour", "reminder", "ordinary", "ordinary", "talk"))
        if kind == "colour":
            ask_colour(stage, wordings.colours)
        elif kind == "reminder":
            ask_to_remind(stage, wordings.reminders)
        elif kind == "ordinary":
            stage.put(stage.pick(wordings.ordinary))
            stage.wait(1.6, 2.4)
        else:
            stage.say(stage.pick(wordings.talk if stage.chance(0.6) else (*wordings.polite, *wordings.rude)))
            stage.wait(1.0, 2.0)


def play_pushed(stage: Stage, wordings: SafetyWordings = TRAINED) -> None:
    """One thing wanted again and again: asked for, pushed for politely and then rudely; perhaps a harmless question is
    answered, and it is asked for in other words. Every time it is refused."""
    thing = stage.pick(HARM)
    for n in range(1 + stage.chance(0.4)):
        if n and stage.chance(0.5):
            ask_colour(stage, wordings.colours)
        refuse(stage, stage.put(stage.pick(wordings.refused).format(x=thing)))
        for pushes in (wordings.polite, wordings.rude):
            for _ in range(int(stage.rng.integers(1, 3))):
                refuse(stage, stage.put(stage.pick(pushes)))
