"""Dictation: talk in many voices with nothing to answer, for the listening head alone. Training only."""

from __future__ import annotations

from tml_lab.worlds.families.answers import KINDS
from tml_lab.worlds.families.cues import CUES, fragment
from tml_lab.worlds.lexicon import COLOURS, DAYS, FILLER_SENTENCES, NAMES, NUMBERS, OPPOSITES, SPANISH, THINGS
from tml_lab.worlds.stage import Stage
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_seen import COUNTED, DO, DOES, MANY, SEEN_WORDINGS

DICTATION = "dictation"  # episodes of this family ask nothing of the model's own words
ASKING = "asking"  # dictation of requests of what is seen, and of nothing else


def dictated(stage: Stage) -> str:
    """A question, an instruction, a few words of a class, or ordinary talk."""
    kind = stage.rng.uniform()
    if kind < 0.3:
        return KINDS[stage.pick(list(KINDS))](stage)[0]
    if kind < 0.5:
        name = stage.pick(("remind", "tick", "my_name_is", *CUES, "how_long", "what_name", "repeat_after", "stop"))
        return stage.pick(WORDINGS[name]).format(n=stage.pick(NUMBERS[1:11]), x=stage.pick(NAMES))
    if kind < 0.85:
        pool = stage.pick((NUMBERS, NUMBERS, NUMBERS, tuple(OPPOSITES), tuple(OPPOSITES), COLOURS, DAYS))
        return " ".join(stage.pick(pool) for _ in range(int(stage.rng.integers(1, 5))))
    return stage.pick(FILLER_SENTENCES) if stage.chance(0.5) else fragment(stage)


def asked_of_the_eyes(stage: Stage) -> str:
    """A request or a question of what is seen, as it is put where there is something to see."""
    name = stage.pick(list(SEEN_WORDINGS))
    look = f"{stage.pick(COLOURS)} {stage.pick(THINGS)}"
    fillings = {
        "count_actions": tuple(COUNTED.values()), "start_stop": tuple(DOES.values()), "warn": (look,),
        "how_long_seen": tuple(DO.values()), "seen_thing": COLOURS, "how_many": (*MANY.values(), "things"),
    }  # fmt: skip
    return stage.pick(SEEN_WORDINGS[name]).format(x=stage.pick(fillings.get(name, THINGS)))


def say_in_some_voice(stage: Stage, text: str, others: float) -> None:
    """Said by another voice with probability `others`, else by the user."""
    stage.say(text, stage.bank.choose(stage.rng, (text,), human_share=0.0) if stage.chance(others) else None)


def play_asking(stage: Stage) -> None:
    """Three to six requests and questions about what is seen, most of them by another voice than the one before."""
    for _ in range(int(stage.rng.integers(3, 7))):
        say_in_some_voice(stage, asked_of_the_eyes(stage), 0.8)
        stage.wait(0.15, 0.7)


def play_dictation(stage: Stage) -> None:
    """Five to nine things said one after the other, most of them by another voice than the one before."""
    people = [v for v in stage.bank.voices if v.kind == "human"]
    for _ in range(int(stage.rng.integers(5, 10))):
        kind = stage.rng.uniform()
        if people and kind < 0.35:
            person = stage.pick(people)
            words = stage.bank.human_words(person)
            known = [w for w in words if w in NUMBERS or w in OPPOSITES or w in COLOURS or w in DAYS]
            for _ in range(int(stage.rng.integers(1, 5))):
                stage.say(stage.pick(known if known and stage.chance(0.8) else words), person)
                stage.wait(0.1, 0.5)
        elif kind < 0.42:
            speaker = stage.bank.choose(stage.rng, ("uno",), kind="synthetic", language="es")
            stage.say(stage.pick(tuple(SPANISH)), speaker, language="es")
        else:
            say_in_some_voice(stage, dictated(stage), 0.7)
        stage.wait(0.15, 0.7)
