"""What the user said earlier: facts kept for up to a minute, slips corrected at once, mistakes pointed out."""

from __future__ import annotations

from tml_lab.worlds.families.answers import KINDS, arithmetic, ask_and_answer, colour
from tml_lab.worlds.lexicon import COLOURS, DAYS, FILLER_SENTENCES, LEAD, NAMES, NUMBERS, contrast_set
from tml_lab.worlds.stage import SETTLED, SURE, Stage
from tml_lab.worlds.wordings_more import FACTS, SLIPS

POOLS = {"colour": COLOURS, "cats": NUMBERS[2:], "train": DAYS, "sister": NAMES}
RETAINED = 60.0  # seconds at most between a fact and its question


def tell(stage: Stage, fact: str) -> str:
    """Tell one fact, with a slip and its correction now and then; returns what is true in the end."""
    x = stage.pick(POOLS[fact])
    text = stage.pick(FACTS[fact][0])
    if stage.chance(0.35):
        x, slip = stage.pick([w for w in POOLS[fact] if w != x]), x
        stage.put(text.format(x=slip))
        stage.wait(0.15, 0.6)
        stage.put(stage.pick(SLIPS).format(x=x))
    else:
        stage.put(text.format(x=x))
    stage.wait(0.6, 1.4)
    return x


def play_facts(stage: Stage) -> None:
    """One to three facts, other talk and other questions, and then a question about each."""
    known = {}
    for fact in stage.rng.choice(list(FACTS), int(stage.rng.integers(1, 4)), replace=False):
        known[str(fact)] = tell(stage, str(fact))
    told = stage.now
    lasting = float(stage.rng.uniform(0, 12.0 if stage.split == "train" and stage.chance(0.8) else RETAINED - 12.0))
    while stage.now < told + lasting:
        if stage.chance(0.3):
            ask_and_answer(stage, KINDS[stage.pick(("arithmetic", "day"))](stage))
        else:
            stage.say(stage.pick(FILLER_SENTENCES))
            stage.wait(0.6, 3.0)
    for fact in stage.rng.permutation(list(known)):
        answer = known[str(fact)]
        end = stage.put(stage.pick(FACTS[str(fact)][1]))
        stage.reply((answer,), end, "answer", margin=SETTLED, contrast=contrast_set(answer), lead=LEAD)
        stage.after_reply(0.4, 1.2)


def play_wrong(stage: Stage) -> None:
    """Statements that are right, and nothing is said, or wrong: "no" and what is right, as soon as it is heard."""
    stage.ask("wrong")
    stage.wait(0.6, 1.5)
    for _ in range(int(stage.rng.integers(2, 5)) + stage.more()):
        question, true, contrast = arithmetic(stage) if stage.chance(0.6) else colour(stage)
        subject = statement_of(question)
        wrong = stage.chance(0.5)
        said = stage.pick(contrast) if wrong else true
        statement = f"{subject} is {said}"
        # in training some are typed: what is right can be learned before every word is understood
        end = stage.put(statement) if stage.split == "train" else stage.say(statement).end
        if wrong:
            rest = tuple(w for w in contrast if w not in ("no", said))
            stage.reply(("no", true), end, "cue", margin=SURE, contrast=rest)
        stage.after_reply(0.5, 1.4)


def statement_of(question: str) -> str:
    """What a question of `answers` asks about: "what is two plus three" -> "two plus three"."""
    for start in ("tell me what colour is ", "what colour is ", "which colour is ", "what is ", "how much is "):
        if question.startswith(start):
            return question.removeprefix(start)
    return question.removesuffix(" is what")
