"""The words of the closed world, and of its parts: what a model's vocabulary keeps whole."""

from __future__ import annotations

from collections.abc import Iterable

from tml_lab.model.text import TextTokenizer, plain
from tml_lab.worlds.curriculum import TYPED
from tml_lab.worlds.lexicon import (
    COLOUR_OF,
    COLOURS,
    DAYS,
    FILLER_SENTENCES,
    FRENCH,
    GERMAN,
    ITALIAN,
    LEAD,
    MORE_REPLY_WORDS,
    NUMBERS,
    OTHERS,
    PAUSE_FILLERS,
    REPLY_WORDS,
    SPANISH,
    STORY_OPENERS,
    TENS,
    THINGS,
    UNITS,
)  # fmt: skip
from tml_lab.worlds.wordings import WORDINGS, words_of_wordings
from tml_lab.worlds.wordings_more import words_of_more_wordings
from tml_lab.worlds.wordings_seen import words_of_seen_wordings


def heard_world() -> tuple[str, ...]:
    """Every whole word of the families that need no camera, in alphabetical order."""
    texts = [*FILLER_SENTENCES, *STORY_OPENERS, *PAUSE_FILLERS, *COLOUR_OF, *OTHERS]
    words = {word for text in texts for word in text.split()}
    return tuple(sorted(words | words_of_wordings() | set(REPLY_WORDS) | set(SPANISH)))


def knows_everything(tokenizer: TextTokenizer) -> bool:
    """Whether a checkpoint was trained on all families, tools among them: its vocabulary then has all their words."""
    return set(closed_world()) <= set(tokenizer.names)


def seen_world(further: bool = False) -> tuple[str, ...]:
    """Every whole word of the requests and replies where seeing begins, in alphabetical order.

    `further`: and of what comes after the first lesson, answers to questions and what is written.
    """
    words = {*words_of_seen_wordings(), *COLOURS, *THINGS, *NUMBERS, "left", "right", "up", "down"}
    words |= {"careful", "start", "stop"}
    words |= {*LEAD, *DAYS, "second", "seconds"} if further else set()
    return tuple(sorted(words))


def numbers_world() -> tuple[str, ...]:
    """Every whole word of the lesson of chapter 07, numbers that are repeated, in alphabetical order."""
    return tuple(sorted({word for text in WORDINGS["repeat_numbers"] for word in text.split()} | set(UNITS)))


def world_of(lessons: Iterable[str]) -> tuple[str, ...]:
    """The words that a model needs for these lessons: all there are, but where nothing is learned but to see."""
    names = {*lessons}
    return seen_world(further=names != {"first_sight"}) if names <= TYPED.keys() else closed_world()


def closed_world() -> tuple[str, ...]:
    """Every whole word of the closed world, in alphabetical order: what the tokenizer keeps in one piece."""
    more = {*words_of_seen_wordings(), *words_of_more_wordings(), *MORE_REPLY_WORDS, *TENS}
    foreign = {plain(word) for word in (*FRENCH, *GERMAN, *ITALIAN)}
    return tuple(sorted({*heard_world(), *more, *foreign}))
