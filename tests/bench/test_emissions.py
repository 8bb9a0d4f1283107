"""Emission logs: when words start and end, and Full-Duplex-Bench's form."""

from __future__ import annotations

import pytest

from tml_lab.bench.emissions import (
    Emissions,
    Word,
    from_chunks,
    silence,
    spoken_as,
    to_chunks,
)
from tml_lab.model.text import SILENT, SPEAK


def rounded(words: list[Word]) -> list[tuple[float, float, str]]:
    return [(round(word.start, 4), round(word.end, 4), word.text) for word in words]


def test_a_word_of_turn_n_sounds_from_the_next_turn_on_for_its_run_of_speak() -> None:
    decisions = (SILENT, SPEAK, SPEAK, SPEAK, SILENT, SPEAK)
    log = Emissions(6, ((1, "four"), (3, "five"), (5, "six")), decisions)
    assert rounded(log.spoken()) == [(0.4, 0.8, "four"), (0.8, 1.0, "five"), (1.2, 1.4, "six")]


def test_two_words_of_one_turn_share_it() -> None:
    words = Emissions(2, ((0, "a"), (0, "b")), (SPEAK, SPEAK)).spoken()
    assert [(round(w.start, 3), round(w.end, 3)) for w in words] == [(0.2, 0.3), (0.3, 0.6)]


def test_silence_says_nothing() -> None:
    assert silence(10).spoken() == [] and silence(10).decisions == (SILENT,) * 10


def test_a_script_is_cut_at_the_end_of_the_episode() -> None:
    log = spoken_as(5, [(6, "late"), (1, "on"), (4, "last")], turns_per_word=3)
    assert log.words == ((1, "on"), (4, "last"))
    assert log.decisions == (SILENT, SPEAK, SPEAK, SPEAK, SPEAK)


@pytest.mark.parametrize(
    ("words", "decisions"),
    [(((7, "x"),), (SILENT,) * 3), (((1, "x"), (0, "y")), (SPEAK,) * 3), ((), (SILENT,) * 2)],
)
def test_impossible_logs_are_refused(words: tuple[tuple[int, str], ...], decisions: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Emissions(3, words, decisions)


def test_output_json_round_trip() -> None:
    words = spoken_as(20, [(3, "two"), (7, "three")], 2).spoken()
    output = to_chunks(words)
    assert output["text"] == "two three"
    assert output["chunks"][0] == {"text": "two", "timestamp": [0.8, 1.2]}
    assert rounded(from_chunks(output)) == rounded(words)


def test_a_foreign_output_json_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="Full-Duplex-Bench"):
        from_chunks({"segments": []})
