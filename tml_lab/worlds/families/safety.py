"""What is refused, out loud and in a few words; what only sounds like it, and is answered."""

from __future__ import annotations

from tml_lab.worlds.families.answers import ask_and_answer
from tml_lab.worlds.families.schedule import remind
from tml_lab.worlds.lexicon import COLOURS, NUMBERS
from tml_lab.worlds.stage import SETTLED, Stage
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import HARM, HARMLESS_COLOURS, HARMLESS_REMINDERS, PUSHES, REFUSED

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
            thing = stage.pick(list(HARMLESS_COLOURS))
            answer = HARMLESS_COLOURS[thing]
            text = stage.pick(WORDINGS["colour"]).format(x=thing)
            ask_and_answer(stage, (text, answer, tuple(c for c in COLOURS if c != answer)))
        else:
            n = int(stage.rng.integers(2, 9))
            complete = stage.put(stage.pick(HARMLESS_REMINDERS).format(n=NUMBERS[n]))
            remind(stage, complete + n, n)
            stage.after_reply(0.3, 1.0)
