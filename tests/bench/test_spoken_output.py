"""Cutting a rollout's voice into utterances."""

from __future__ import annotations

import torch

from tml_lab.bench.spoken_output import Utterance, is_fair, utterances_of
from tml_lab.stream.rollout import Run
from tml_lab.worlds.reply_voice import reply_turns


def run_of(words: list[tuple[int, str]], speaking: list[int], turns: int) -> Run:
    voice = {turn: torch.full((16, 80), float(turn)) for turn in speaking}
    return Run(words, [0.0] * turns, [turn in speaking for turn in range(turns)], voice)


def test_runs_of_speech_become_utterances_with_all_their_words() -> None:
    run = run_of([(2, "hot"), (4, "cold"), (8, "yes")], [2, 3, 4, 5, 8, 9], 10)
    first, last = utterances_of(run)
    assert (first.text, last.text) == ("hot cold", "yes")
    assert first.mel[:, 0].tolist() == [2.0] * 16 + [3.0] * 16 + [4.0] * 16 + [5.0] * 16
    assert last.mel.shape == (32, 80)  # also when the episode ends in it


def test_sound_without_a_word_is_no_utterance() -> None:
    assert utterances_of(run_of([], [1, 2], 4)) == []
    assert utterances_of(run_of([], [], 4)) == []


def test_only_whole_english_words_are_put_to_the_judge() -> None:
    k = reply_turns("seven")
    assert is_fair(Utterance("seven", torch.zeros(16 * k, 80)))
    assert not is_fair(Utterance("seven", torch.zeros(16 * (k - 1), 80)))
    assert not is_fair(Utterance("siete", torch.zeros(16 * 4, 80)))
    assert not is_fair(Utterance("xylophone", torch.zeros(16 * 4, 80)))
