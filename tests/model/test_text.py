"""The vocabulary: closed-world words whole, everything else spelled, digits as words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.model.text import SPECIALS, TextTokenizer, normalise_text, number_words
from tml_lab.worlds.vocabulary import closed_world
from tml_lab.worlds.wordings import WORDINGS

TOKENIZER = TextTokenizer.build(closed_world())


def test_every_wording_is_made_of_whole_words() -> None:
    for group in WORDINGS.values():
        for text in group:
            filled = text.format(n="six", a="two", b="nine", x="hot")
            assert [TOKENIZER.names[i] for i in TOKENIZER.encode(filled)] == filled.split()


@given(st.lists(st.sampled_from(closed_world()), min_size=1, max_size=8))
def test_closed_world_round_trip(words: list[str]) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(" ".join(words))) == " ".join(words)


@given(st.from_regex(r"[a-z]{1,12}", fullmatch=True))
def test_unknown_words_are_spelled_and_come_back(word: str) -> None:
    ids = TOKENIZER.encode(word)
    assert TOKENIZER.decode(ids) == word
    assert TOKENIZER.id("<unk>") not in ids


def test_digits_and_punctuation() -> None:
    assert normalise_text("What is 2 + 13?") == "what is two plus thirteen"
    assert normalise_text("Remind me in 6 seconds!") == "remind me in six seconds"
    assert number_words(342) == "three hundred forty two"


def test_save_and_load(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    again = TextTokenizer.load(tmp_path / "tokenizer.json")
    assert again.names == TOKENIZER.names
    assert again.names[: len(SPECIALS)] == list(SPECIALS)


def test_a_word_that_is_not_whole_is_named() -> None:
    with pytest.raises(KeyError, match="xylophone"):
        TOKENIZER.id("xylophone")
