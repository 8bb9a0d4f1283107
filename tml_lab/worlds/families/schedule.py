"""More of time: several reminders, called off, moved, up to a minute away; how long it was quiet."""

from __future__ import annotations

from tml_lab.model.text import number_words
from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.families.timing import TIME_WORDS, talk_until
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.stage import SETTLED, Stage

APART = 1.6  # seconds between two reminders: each has to be said
LONGEST = 60  # seconds ahead


def draw_seconds(stage: Stage) -> int:
    """2 to 60 seconds ahead; in training mostly few, so that an hour holds more of them."""
    if stage.split == "train" and stage.chance(0.75):
        return int(stage.rng.integers(2, 13))
    return int(stage.rng.integers(2, LONGEST + 1))


def remind(stage: Stage, due: float, n: int) -> None:
    """What is to be said then."""
    contrast = tuple(w for w in TIME_WORDS if w != "reminder")
    stage.reply(("reminder",), due, "time", asked=float(n), contrast=contrast, on_time=True)


def ask_for(stage: Stage, name: str, n: int) -> float:
    """`n` seconds in one of a request's wordings; returns when it is complete."""
    return stage.ask(name, n=number_words(n))


def play_reminders(stage: Stage) -> None:
    """Two or three reminders asked for one after the other, before the first of them is due."""
    dues: list[tuple[float, int]] = []
    for _ in range(2 + stage.chance(0.3)):
        complete = 0.0
        n = 0
        for _ in range(20):  # a time that no other reminder is close to
            n = draw_seconds(stage)
            about = stage.now + 2.6 + n  # the request itself takes two or three seconds
            if all(abs(about - due) > APART + 1.5 for due, _ in dues):
                break
        else:
            break
        if dues and stage.now + 3.2 > min(due for due, _ in dues):
            break  # the first one would be due while the next is being asked for
        complete = ask_for(stage, "remind", n)
        if any(abs(complete + n - due) < APART for due, _ in dues):
            continue  # asked for, and said with the other one
        dues.append((complete + n, n))
        stage.wait(0.3, 0.8)
    for due, n in sorted(dues):
        if stage.chance(0.4):
            talk_until(stage, due)
        remind(stage, due, n)
    stage.after_reply(0.3, 1.0)


def play_called_off(stage: Stage) -> None:
    """A reminder is asked for and called off, or moved to another time, before it is due."""
    n = max(5, draw_seconds(stage))
    due = ask_for(stage, "remind", n) + n
    stage.wait(0.5, 1.5)
    if stage.chance(0.4):
        stage.say(fragment(stage))
        stage.wait(0.3, 0.8)
    if stage.now > due - 3.0:  # too late to call it off
        remind(stage, due, n)
    elif stage.chance(0.5):
        stage.ask("cancel")
        stage.now = max(stage.now, due)
        stage.wait(0.8, 1.6)
    else:
        m = draw_seconds(stage)
        moved = ask_for(stage, "change", m) + m
        stage.wait(0.3, 0.8)
        remind(stage, moved, m)
        stage.now = max(stage.now, due)  # when the first one would have been due, nothing is said
    stage.after_reply(0.3, 1.0)


def play_quiet_for(stage: Stage) -> None:
    """The user talks, says nothing for some seconds, and asks how long that was; rounded to whole seconds."""
    for _ in range(1 + stage.more()):
        end = stage.say(fragment(stage)).end
        quiet = int(stage.rng.integers(1, 10)) + float(stage.rng.uniform(-0.3, 0.3))
        stage.now = end + max(1.0, quiet)
        start = stage.now
        complete = stage.ask("quiet_for", typed=0.0)
        seconds = max(1, round(start - end))
        gold = (NUMBERS[seconds], "second" if seconds == 1 else "seconds")
        contrast = tuple(w for w in NUMBERS[:11] if w != NUMBERS[seconds])
        stage.reply(gold, complete, "answer", margin=SETTLED, contrast=contrast)
        stage.after_reply(0.6, 1.2)
