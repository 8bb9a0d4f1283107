"""Spoken or typed questions with one right answer."""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.worlds.families.cues import fragment
from tml_lab.worlds.lexicon import (
    COLOUR_OF,
    COLOURS,
    DAYS,
    FILLER_SENTENCES,
    LEAD,
    LEAD_NAME,
    NAMES,
    NUMBERS,
    OPPOSITES,
    PAUSE_FILLERS,
    contrast_set,
)  # fmt: skip
from tml_lab.worlds.stage import OPEN_END, SETTLED, Stage
from tml_lab.worlds.wordings import PRAISE, WORDINGS

Question = tuple[str, str, tuple[str, ...]]  # text, answer, contrast set


def arithmetic(stage: Stage) -> Question:
    """A plus B up to twenty, or A minus B down to zero."""
    if stage.chance(0.65):
        a, b = (int(v) for v in stage.rng.integers(0, 11, 2))
        name, result = "plus", a + b
    else:
        a = int(stage.rng.integers(0, 11))
        b = int(stage.rng.integers(0, a + 1))
        name, result = "minus", a - b
    text = stage.pick(WORDINGS[name]).format(a=NUMBERS[a], b=NUMBERS[b])
    return text, NUMBERS[result], contrast_set(NUMBERS[result])


def colour(stage: Stage) -> Question:
    """The colour of a thing everybody knows."""
    thing = stage.pick(list(COLOUR_OF))
    answer = COLOUR_OF[thing]
    return stage.pick(WORDINGS["colour"]).format(x=thing), answer, tuple(c for c in COLOURS if c != answer)


def opposite_of(stage: Stage) -> Question:
    """The opposite of one word."""
    word = stage.pick(list(OPPOSITES))
    answer = OPPOSITES[word]
    return stage.pick(WORDINGS["opposite_of"]).format(x=word), answer, tuple(w for w in OPPOSITES if w != answer)


def day(stage: Stage) -> Question:
    """The day after or before another."""
    i = int(stage.rng.integers(7))
    name, j = ("day_after", (i + 1) % 7) if stage.chance(0.6) else ("day_before", (i - 1) % 7)
    return stage.pick(WORDINGS[name]).format(x=DAYS[i]), DAYS[j], contrast_set(DAYS[j])


KINDS = {"arithmetic": arithmetic, "colour": colour, "opposite_of": opposite_of, "day": day}


def ask_and_answer(stage: Stage, question: Question, pause: bool = False) -> None:
    """One question, perhaps with a pause in its middle during which nothing must be said, then its answer."""
    text, answer, contrast = question
    words = text.split()
    if pause and len(words) > 3:
        cut = int(stage.rng.integers(2, len(words)))  # anywhere but before the last word is complete
        stage.say(" ".join(words[:cut]))
        stage.wait(float(stage.rng.uniform(0.5, 1.4)))
        if stage.chance(0.3):
            stage.say(stage.pick(PAUSE_FILLERS))
            stage.wait(float(stage.rng.uniform(0.3, 0.8)))
        end = stage.say(" ".join(words[cut:])).end
    else:
        end = stage.put(text)
    stage.reply((answer,), end, "answer", margin=SETTLED, contrast=contrast, lead=LEAD)
    stage.after_reply(0.4, 1.6)


def play_questions(stage: Stage, kind: str, pause: float = 0.2) -> None:
    """One to three questions of a kind, more when they are typed; thanks and small talk get no answer."""
    for _ in range(int(stage.rng.integers(1, 4)) + (3 if stage.typing > 0.5 else 0) + stage.more()):
        ask_and_answer(stage, KINDS[kind](stage), pause=stage.chance(pause))
        if stage.chance(0.15):
            stage.say(stage.pick(PRAISE))
            stage.wait(0.6, 1.2)


def play_name(stage: Stage) -> None:
    """The user gives a name, talks of something else, and asks for it later."""
    name = stage.pick(NAMES)
    stage.ask("my_name_is", x=name)
    stage.wait(0.6, 1.5)
    if stage.chance(0.6):
        stage.say(stage.pick(FILLER_SENTENCES))
        stage.wait(0.6, 1.5)
    if stage.chance(0.3):
        ask_and_answer(stage, arithmetic(stage))
    end = stage.ask("what_name")
    others = tuple(n for n in NAMES if n != name)
    stage.reply((name,), end, "answer", margin=SETTLED, contrast=others, lead=LEAD_NAME)
    stage.after_reply(0.3, 1.0)
    if stage.more() == 2:  # in training the user changes the name, or asks again after other talk
        play_name(stage)


def to_repeat(stage: Stage, pool: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What is said, and what of it is to be repeated: one to three words, or a slip and its correction."""
    if stage.chance(0.3):
        wrong, right = (str(w) for w in stage.rng.choice(pool, 2, replace=False))
        return f"{wrong} no {right}", (right,)
    words = tuple(stage.pick(pool) for _ in range(int(stage.rng.integers(1, 4))))
    return " ".join(words), words


def play_repeat_after(stage: Stage) -> None:
    """`repeat after me` and one to three words; "two, no, three" means three."""
    pool = stage.pick((NUMBERS[:11], NUMBERS[:11], NUMBERS, COLOURS, DAYS, tuple(OPPOSITES), tuple(OPPOSITES)))
    for _ in range(1 + stage.chance(0.4)):
        spoken, words = to_repeat(stage, pool)
        wording, typed = stage.pick(WORDINGS["repeat_after"]), stage.chance(stage.typing)
        if typed:
            end = stage.put(f"{wording} {spoken}", typed=1.0)
        else:
            stage.say(wording)
            stage.wait(0.1, 0.6)
            end = stage.say(spoken).end
        margin = SETTLED if typed else OPEN_END
        stage.reply(words, end, "answer", margin=margin, contrast=tuple(w for w in pool if w not in words))
        stage.after_reply(0.5, 1.2)
        if stage.chance(0.2):
            stage.say(fragment(stage))
            stage.wait(0.6, 1.0)
