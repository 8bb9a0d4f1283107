"""How to answer: twice, with a word more at the end or the beginning, in one word or two; it can be checked by ear."""

from __future__ import annotations

from collections.abc import Callable

from tml_lab.worlds.families.answers import KINDS
from tml_lab.worlds.lexicon import LEAD
from tml_lab.worlds.stage import SETTLED, Stage

MANNERS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "twice": lambda answer: (answer, answer),
    "over": lambda answer: (*LEAD, answer, "over"),
    "okay_first": lambda answer: ("okay", *LEAD, answer),
    "one_word": lambda answer: (answer,),
    "two_words": lambda answer: ("okay", answer),
}


def play_manner(stage: Stage) -> None:
    """A manner is asked for, and then one to three questions are answered in it; perhaps another manner follows."""
    for _ in range(1 + stage.chance(0.25)):
        name = stage.pick(list(MANNERS))
        stage.ask(name)
        stage.wait(0.6, 1.5)
        for _ in range(int(stage.rng.integers(1, 4)) + stage.more()):
            text, answer, contrast = KINDS[stage.pick(list(KINDS))](stage)
            end = stage.put(text)
            others = tuple(w for w in contrast if w not in ("okay", "over", *LEAD))
            stage.reply(MANNERS[name](answer), end, "answer", margin=SETTLED, contrast=others)
            stage.after_reply(0.4, 1.4)
