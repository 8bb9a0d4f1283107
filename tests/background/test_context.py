"""The context package holds what happened before its turn, on both clocks, and nothing after it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tml_lab.background.context import ContextError, ContextPackage, OpenCall, build_context
from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.clock import heard_start
from tml_lab.stream.recording import Recording

CALL = OpenCall(id=3, tool="calculator", request="2 + 2", turn=5, partial=("2 + 2 = 4",))


def test_all_streams_with_times_on_both_clocks(recording: Recording) -> None:
    package = build_context(recording)
    found = [(e.stream, e.turn, e.end_turn, e.text, e.heard, e.played) for e in package.transcript]
    assert found == [
        ("audio_in", 1, 4, "", (0.2, 0.8), (0.4, 1.0)),
        ("text_in", 2, 3, "two plus", (0.4, 0.6), (0.6, 0.8)),
        ("video_in", 4, 6, "pictures of 40 x 40", (0.8, 1.2), (1.0, 1.4)),
        ("audio_out", 6, 8, "", (1.2, 1.6), (1.4, 1.8)),
        ("text_out", 6, 7, "four", (1.2, 1.4), (1.4, 1.8)),  # goes on sounding in turn 7
        ("audio_out", 9, 10, "", (1.8, 2.0), (2.0, 2.2)),
        ("text_out", 9, 10, "good", (1.8, 2.0), (2.0, pytest.approx(2.1))),
        ("text_out", 9, 10, "bye", (1.8, 2.0), (pytest.approx(2.1), 2.2)),
    ]
    levels = {e.turn: e.level_db for e in package.transcript if e.level_db is not None}
    assert levels == {1: -20.0, 6: -6.0, 9: -6.0}
    assert (package.turn, package.heard_until, package.played_until) == (10, 2.0, 2.2)
    assert package.decisions == recording.decisions
    assert np.array_equal(np.array(package.p_speak, np.float32), recording.p_speak)


@pytest.mark.parametrize("turn", range(11))
def test_nothing_of_the_future_leaks_in(recording: Recording, turn: int) -> None:
    """A package does not change when all that comes later is different."""
    later = np.random.default_rng(0).standard_normal((10 - turn) * TURN_SAMPLES).astype(np.float32)
    typed = [(heard_start(n), "later") for n in range(turn, 10)]
    other = recording.fork(heard_start(turn), {"audio": later, "typed": typed})
    assert build_context(other, turn) == build_context(recording, turn)
    assert all(entry.end_turn <= turn for entry in build_context(recording, turn).transcript)


@pytest.mark.parametrize("turn", [0, 7, 10])
def test_json_there_and_back(recording: Recording, turn: int) -> None:
    package = build_context(recording, turn, [CALL] if turn > CALL.turn else [])
    text = package.to_json()
    assert ContextPackage.from_json(text) == package
    assert isinstance(json.loads(text)["transcript"], list)
    if turn == 7:
        assert package.open_calls == (CALL,)
        assert [e.played for e in package.transcript if e.text == "four"] == [(1.4, 1.6)]  # not known longer


def test_what_is_on_the_screen_is_told_in_words(recording: Recording) -> None:
    timer = {"kind": "timer", "id": "tea", "seconds": 2.0, "started": 3}
    listed = {"kind": "checklist", "id": "list", "entries": [{"text": "bread", "done": True}, {"text": "milk"}]}
    changes = [{"turn": 3, "put": timer}, {"turn": 5, "put": listed}, {"turn": 8, "remove": "tea"}]
    large = np.zeros((2, 120, 160, 3), np.uint8)
    frames = [*recording.inputs.frames[:5], large, large, *[None] * 3]  # type: ignore[index]
    shown = replace(recording, panel=tuple(changes), inputs=replace(recording.inputs, frames=frames))
    told = {turn: build_context(shown, turn).screen for turn in (4, 5, 7, 10)}
    assert told == {
        4: ("Timer tea: 2 s left.",),  # that a camera will come is not known yet
        5: ("The camera is on: pictures of 40 x 40. It has been on for 0.2 s so far.", "Timer tea: 2 s left."),
        7: (
            "The camera is on: pictures of 160 x 120. It has been on for 0.6 s so far.",
            "Timer tea: 1 s left.",
            "Checklist list: 1 of 2 done.",
        ),
        10: ("The camera is off. It has been on for 0.6 s so far.", "Checklist list: 1 of 2 done."),
    }
    package = build_context(shown)
    stretches = [(e.turn, e.end_turn, e.text) for e in package.transcript if e.stream == "video_in"]
    assert stretches == [(4, 5, "pictures of 40 x 40"), (5, 7, "pictures of 160 x 120")]
    assert ContextPackage.from_json(package.to_json()) == package


def test_words_heard_are_in_the_transcript(recording: Recording) -> None:
    heard = [(), (), ("two",), (), ("plus", "two"), ("later",)]
    package = build_context(recording, 5, heard=heard)
    found = [(e.text, e.turn, e.heard) for e in package.transcript if e.stream == "audio_in" and e.text]
    assert found == [("two", 2, (0.4, 0.6)), ("plus", 4, (0.8, 1.0)), ("two", 4, (0.8, 1.0))]
    assert ContextPackage.from_json(package.to_json()) == package


def test_turns_and_calls_that_do_not_fit(recording: Recording) -> None:
    with pytest.raises(ContextError, match="turn 11 is outside the recording, which has had 10 turns"):
        build_context(recording, 11)
    with pytest.raises(ContextError, match="turn -1 is outside"):
        build_context(recording, -1)
    with pytest.raises(ContextError, match="call 3 was made in turn 5 or later"):
        build_context(recording, 5, [CALL])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version"),
        ({"turn": -1}, "turn"),
        ({"turn": 9}, "10 decisions do not fit 9 turns"),
        ({"surprise": 1}, "surprise"),
        ({"open_calls": [{"id": 1}]}, r"open_calls\.0\.tool"),
        ({"transcript": [{"stream": "smell"}]}, r"transcript\.0\.stream"),
    ],
)
def test_a_damaged_package_is_refused_in_one_sentence(
    recording: Recording, change: dict[str, object], says: str
) -> None:
    good = json.loads(build_context(recording).to_json())
    with pytest.raises(ContextError, match=says) as caught:
        ContextPackage.from_json(json.dumps(good | change))
    assert "\n" not in str(caught.value)


def test_text_that_is_no_json() -> None:
    with pytest.raises(ContextError, match="not a context package"):
        ContextPackage.from_json("{")
