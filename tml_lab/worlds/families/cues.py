"""Cued words: react to each word of a class while the user goes on talking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tml_lab.worlds.lexicon import (
    COLOURS,
    DAYS,
    ENGLISH_TO_SPANISH,
    FILLER_SENTENCES,
    NUMBERS,
    OPPOSITES,
    SOUNDS_LIKE,
    SPANISH,
    contrast_set,
)  # fmt: skip
from tml_lab.worlds.stage import Stage
from tml_lab.worlds.voices import Voice


@dataclass(frozen=True)
class Cue:
    """A class of words and what to say at each; `others` are words of no concern."""

    words: tuple[str, ...]
    answer: Callable[[str], str]
    others: tuple[str, ...]
    language: str = "en"


CUES: dict[str, Cue] = {
    "repeat_numbers": Cue(NUMBERS, lambda w: w, COLOURS + DAYS),
    "next_number": Cue(NUMBERS[:-1], lambda w: NUMBERS[NUMBERS.index(w) + 1], COLOURS + DAYS),
    "opposite": Cue(tuple(OPPOSITES), lambda w: OPPOSITES[w], NUMBERS[1:11] + DAYS),
    "to_english": Cue(tuple(SPANISH), lambda w: SPANISH[w], DAYS, "es"),
    "to_spanish": Cue(NUMBERS[1:11], lambda w: ENGLISH_TO_SPANISH[w], DAYS + tuple(OPPOSITES)[:12]),
}
LIKE_NUMBERS = ("oh", *NUMBERS, "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred")
DIGITS = frozenset(NUMBERS[:11])  # said more often than the teens, as people do


def fragment(stage: Stage, cued: Sequence[str] = ()) -> str:
    """Two to four words out of the middle of ordinary talk, none of them a cued one, which would have to be answered.

    Nor does one sound like it in a test: nobody could tell "to" from "two" in so few words. Training keeps those.
    """
    while True:
        words = stage.pick(FILLER_SENTENCES).split()
        n = int(stage.rng.integers(2, 5))
        start = int(stage.rng.integers(0, max(1, len(words) - n)))
        some = words[start : start + n]
        heard = some if stage.split == "train" else [*some, *(SOUNDS_LIKE[w] for w in some if w in SOUNDS_LIKE)]
        if not set(heard) & set(cued):
            return " ".join(some)


def cue_speaker(stage: Stage, cue: Cue) -> Voice:
    """Who says the cued words: a real person who recorded at least eight of them, the user, or one who can."""
    people = [v for v in stage.bank.voices if v.kind == "human" and sum(v.can_say(w) for w in cue.words) >= 8]
    share = 1.0 if stage.split == "human" else 0.5
    if people and cue.language == "en" and stage.chance(share):
        return stage.pick(people)
    if stage.user.can_say(cue.words[0], cue.language):
        return stage.user
    return stage.bank.choose(stage.rng, (cue.words[0],), kind="synthetic", language=cue.language)


def choose_word(stage: Stage, cue: Cue, speaker: Voice) -> str:
    """A cued word that the speaker can say; numbers up to ten are three times as likely as the teens."""
    able = [w for w in cue.words if speaker.can_say(w, cue.language)]
    common = [w for w in able if w in DIGITS]
    return stage.pick(common if common and stage.chance(0.6) else able)


def one_cue(stage: Stage, cue: Cue, speaker: Voice, answered: bool) -> None:
    """One cued word, alone or inside running talk, and the reply to it."""
    word = choose_word(stage, cue, speaker)
    talks = speaker is stage.user and speaker.kind == "synthetic"  # a person has only recorded single words
    inside = talks and stage.chance(0.3)  # the user goes on talking around the word
    if inside and stage.chance(0.6):
        stage.say(fragment(stage, cue.words), speaker)
        stage.wait(0.04, 0.15)
    # a word must not end before the mouth is free again, or replies would queue up
    stage.now = max(stage.now, stage.free_turn * 0.2 - 0.25)
    segment = stage.say(word, speaker, language=cue.language)
    if answered:
        gold = cue.answer(word)
        contrast = tuple(w for w in contrast_set(gold) if w != word) if gold != word else contrast_set(gold)
        stage.reply((gold,), segment.end, "cue", contrast=contrast)
    if inside:
        stage.wait(0.04, 0.15)
        stage.say(fragment(stage, cue.words), speaker)


def play_cues(stage: Stage, name: str) -> None:
    """One of the cues of `CUES`."""
    play_cue_scene(stage, name, CUES[name])


def play_cue_scene(stage: Stage, name: str, cue: Cue) -> None:
    """The instruction `name`, then three to seven cued words among distractors; perhaps "stop", and then no reply."""
    stage.ask(name, typed=1.0 if stage.split == "human" else None)
    stage.wait(0.5, 1.5)
    stage.perhaps_lull()
    speaker = cue_speaker(stage, cue)
    if speaker.kind == "human":
        stage.style = None
    for _ in range(int(stage.rng.integers(3, 8)) + 2 * stage.more()):
        one_cue(stage, cue, speaker, answered=True)
        stage.wait(0.35, 1.5)
        distract(stage, cue, speaker)
        stage.perhaps_lull(0.3)
    if stage.chance(0.3) and stage.split != "human":
        stage.after_reply(0.2, 0.8)
        stage.ask("stop")
        stage.wait(0.6, 1.2)
        for _ in range(int(stage.rng.integers(1, 4))):
            one_cue(stage, cue, speaker, answered=False)
            stage.wait(0.4, 1.0)


def distract(stage: Stage, cue: Cue, speaker: Voice) -> None:
    """Now and then a word of no concern, a bit of talk, or a far voice that even says cued words."""
    if stage.user.kind == "human":  # a bank of recordings alone: what else this person has recorded
        able = [w for w in stage.bank.human_words(speaker) if w not in (*cue.words, *LIKE_NUMBERS)]
        if able and stage.chance(0.2):
            stage.say(stage.pick(able), speaker)
            stage.wait(0.3, 0.9)
        return
    if stage.chance(0.15):
        word = stage.pick(cue.others)
        stage.say(word, speaker if speaker.can_say(word) else stage.user)
        stage.wait(0.3, 0.9)
    elif stage.chance(0.12):
        stage.say(fragment(stage, cue.words), stage.user)
        stage.wait(0.3, 0.9)
    elif stage.chance(0.1) and cue.language == "en":
        segment = stage.elsewhere(stage.pick([*cue.words, fragment(stage)]), stage.now)
        stage.now = segment.end
        stage.wait(0.3, 0.8)
