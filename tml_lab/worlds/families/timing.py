"""Time itself: reminders, ticks, and how long the user talked."""

from __future__ import annotations

from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.lexicon import FILLER_SENTENCES, NUMBERS
from tml_lab.worlds.stage import SETTLED, Stage

TIME_WORDS = ("reminder", "tick", *NUMBERS[:11])


def talk_until(stage: Stage, end: float) -> None:
    """Ordinary talk with pauses that ends before `end` seconds."""
    while stage.now < end - 2.0:
        if stage.chance(0.5):
            stage.say(fragment(stage))
        stage.wait(0.3, 1.2)


def play_remind(stage: Stage) -> None:
    """`remind me in N seconds`, with or without talk in between; sometimes a second one follows."""
    for _ in range(1 + stage.chance(0.25) + stage.more()):
        n = int(stage.rng.integers(2, 11))
        complete = stage.ask("remind", n=NUMBERS[n])
        due = complete + n
        stage.wait(0.4, 0.8)
        if stage.chance(0.5):
            talk_until(stage, due)
        contrast = tuple(w for w in TIME_WORDS if w != "reminder")
        stage.reply(("reminder",), due, "time", asked=float(n), contrast=contrast, on_time=True)
        stage.after_reply(0.3, 1.0)


def play_tick(stage: Stage) -> None:
    """`say tick every N seconds until I say stop`: due at N, 2N, ... after the instruction."""
    n = int(stage.rng.choice([1, 2, 2, 3, 3, 4, 5]))
    complete = stage.ask("tick", n=NUMBERS[n])
    ticks = int(stage.rng.integers(2, max(3, 12 // n)))
    contrast = tuple(w for w in TIME_WORDS if w != "tick")
    for k in range(1, ticks + 1):
        stage.reply(("tick",), complete + k * n, "time", asked=float(n), contrast=contrast, on_time=True)
    last = complete + ticks * n
    if n >= 3 and stage.chance(0.4):
        stage.wait(0.4, 0.8)
        talk_until(stage, last - 0.5)
    # "stop" is over well before the next tick would be due
    stage.now = max(stage.now, last + float(stage.rng.uniform(0.35, max(0.4, n - 0.9))))
    end = stage.ask("stop")
    if end > last + n - 0.25:  # said too late: one more tick was due in the meantime
        stage.reply(("tick",), last + n, "time", asked=float(n), contrast=contrast, on_time=True)
    stage.now = max(stage.now, end)
    stage.wait(0.8, float(n) + 1.5)


def play_how_long(stage: Stage) -> None:
    """The user talks for some seconds, then asks for how long; the answer is rounded to whole seconds."""
    talk_and_ask(stage)
    for _ in range(stage.more()):
        stage.after_reply(0.6, 1.2)
        talk_and_ask(stage)


def talk_and_ask(stage: Stage) -> None:
    """Some seconds of talk, the question how long they were, and the answer."""
    start = stage.now
    goal = float(stage.rng.uniform(1.2, 7.5))
    while True:
        stage.say(stage.pick(FILLER_SENTENCES) if goal - (stage.now - start) > 2.5 else fragment(stage))
        spoken = stage.now - start
        clear = abs(spoken % 1.0 - 0.5) > 0.15  # near a half there is no honest answer
        if (spoken > goal and clear) or spoken > 9.3:
            break
        stage.wait(0.05, 0.25)
    seconds = min(10, max(1, round(spoken)))
    stage.wait(0.6, 1.0)
    end = stage.ask("how_long")
    gold = (NUMBERS[seconds], "second" if seconds == 1 else "seconds")
    contrast = tuple(w for w in NUMBERS[:11] if w != NUMBERS[seconds])
    stage.reply(gold, end, "answer", margin=SETTLED, contrast=contrast)


