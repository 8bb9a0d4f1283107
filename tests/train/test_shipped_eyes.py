"""The shipped `pico-eyes` sees: what moves which way decides what it says, and a mirror turns left into right."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rolling_ball import rolling
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS, VIDEO_SIZE
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_lab.worlds.lexicon import COLOURS, THINGS
from tml_lab.worlds.remembered import usual_policy
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.film import pictures
from tml_lab.worlds.seen.scene import Scene
from tml_lab.worlds.vocabulary import seen_world

MODEL, TOKENIZER = load_checkpoint("pico-eyes")


def watch(film: np.ndarray, request: str = "tell me which way the ball goes") -> Recording:
    session = Session(MODEL, TOKENIZER)
    for turn, pair in enumerate(film):
        typed = request if turn == 2 else None
        session.step(np.zeros(TURN_SAMPLES, np.float32), np.ascontiguousarray(pair), typed)
    return session.recording()


@pytest.mark.parametrize("ways", [("left", "right", "up", "down"), ("up", "down", "right", "left")])
def test_it_says_which_way_a_ball_goes_and_a_mirror_turns_it_round(ways: tuple[str, ...]) -> None:
    film = rolling(ways)
    assert watch(film).text.split() == list(ways)
    other = {"left": "right", "right": "left"}
    assert watch(film[:, :, :, ::-1]).text.split() == [other.get(way, way) for way in ways]


def test_it_keeps_a_request_for_as_long_as_it_is_not_taken_back() -> None:
    session = Session(MODEL, TOKENIZER, policy=usual_policy())
    for turn, pair in enumerate(rolling(["left", "down"], first=60.0, turns=330)):
        typed = "tell me which way the ball goes" if turn == 2 else None
        session.step(np.zeros(TURN_SAMPLES, np.float32), np.ascontiguousarray(pair), typed)
    assert session.recording().text.split() == ["left", "down"] and session.recording().notes


def comes(n: int) -> np.ndarray:
    """Ten seconds; after three a thing is there, and stays: uint8 `[50, 2, 120, 160, 3]`."""
    scene = Scene(np.random.default_rng(n))
    scene.thing(THINGS[n % 4], COLOURS[n % 9], Span(3, 99), 60 + 20 * (n % 3), 62, size=16)
    return pictures(scene.script(100), VIDEO_SIZE).numpy().reshape(50, 2, 120, 160, 3)


def test_of_what_appears_it_says_a_colour_and_a_kind_mostly_once() -> None:
    colours = kinds = once = 0
    for n in range(9):
        colour, kind, *more = watch(comes(n), "tell me what appears").text.split()
        colours += colour == COLOURS[n % 9]
        kinds += kind == THINGS[n % 4]
        once += not more
    assert colours >= 6 and kinds >= 5 and once >= 6


@pytest.mark.parametrize(("action", "asked"), [("jumping jack", "jumping jacks"), ("squat", "squats")])
def test_it_counts_aloud_what_somebody_does(action: str, asked: str) -> None:
    scene = Scene(np.random.default_rng(0))
    scene.person(action).do(action, [Span(3 + 1.5 * k, 4.3 + 1.5 * k) for k in range(5)])
    film = pictures(scene.script(120), VIDEO_SIZE).numpy().reshape(60, 2, 120, 160, 3)
    recording = watch(film, f"count the {asked} you see")
    assert recording.text == "one two three four five"
    seconds = [TURN_SECONDS * (turn + 1) for turn, words in enumerate(recording.words) for _ in words]
    late = np.array(seconds) - [4.3 + 1.5 * k for k in range(5)]  # each when it is over, or nearly
    assert late.min() > -0.5 and late.max() < 1.5, late


def test_where_nothing_moves_it_says_nothing() -> None:
    assert watch(rolling([])).text == ""


def test_what_it_saw_replays_to_the_same() -> None:
    recording = watch(rolling(["up", "down"]))
    assert differences(replay(recording, MODEL, TOKENIZER), recording) == []


def test_it_knows_the_words_of_first_sight_and_no_others() -> None:
    assert set(seen_world()) <= set(TOKENIZER.names) and "calculator" not in TOKENIZER.names
