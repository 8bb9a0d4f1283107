"""The shipped `pico-eyes` sees: what moves which way decides what it says, and a mirror turns left into right."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rolling_ball import rolling
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_lab.worlds.episode import seen_world

MODEL, TOKENIZER = load_checkpoint("pico-eyes")


def watch(film: np.ndarray) -> Recording:
    session = Session(MODEL, TOKENIZER)
    for turn, pair in enumerate(film):
        typed = "tell me which way the ball goes" if turn == 2 else None
        session.step(np.zeros(TURN_SAMPLES, np.float32), np.ascontiguousarray(pair), typed)
    return session.recording()


@pytest.mark.parametrize("ways", [("left", "right", "up", "down"), ("up", "down", "right", "left")])
def test_it_says_which_way_a_ball_goes_and_a_mirror_turns_it_round(ways: tuple[str, ...]) -> None:
    film = rolling(ways)
    assert watch(film).text.split() == list(ways)
    other = {"left": "right", "right": "left"}
    assert watch(film[:, :, :, ::-1]).text.split() == [other.get(way, way) for way in ways]


def test_where_nothing_moves_it_says_nothing() -> None:
    assert watch(rolling([])).text == ""


def test_what_it_saw_replays_to_the_same() -> None:
    recording = watch(rolling(["up", "down"]))
    assert differences(replay(recording, MODEL, TOKENIZER), recording) == []


def test_it_knows_the_words_of_first_sight_and_no_others() -> None:
    assert set(seen_world()) <= set(TOKENIZER.names) and "calculator" not in TOKENIZER.names
