"""What was going on in each turn, from an episode written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.labels import GAPS, SPEAKERS, asked_at, label_turns
from tml_lab.stream.recording import Recording
from tml_lab.worlds.stage import Episode, Expect, Segment

TURNS = 30


def episode(**changes) -> Episode:
    """`three plus` 0.4-1.0 s, a pause, `two is what` 2.0-3.0 s; the answer is said from turn 17 to 19."""
    held = {
        "family": "pause", "audio": np.zeros(TURNS * TURN_SAMPLES, np.float32), "typed": [], "script": [],
        "speaking": {}, "expects": [Expect(("five",), 3.0, None, (), "answer")],
        "segments": [Segment(0.4, 1.0, "three plus", "user"), Segment(2.0, 3.0, "two is what", "user"),
                     Segment(4.4, 5.0, "far away", "background")],
        "seed": 0, "split": "test",
    }  # fmt: skip
    return Episode(**(held | changes))


def recording(speaks: tuple[int, ...] = (17, 18, 19)) -> Recording:
    return Recording(None, tuple("<speak>" if n in speaks else "<silent>" for n in range(TURNS)))  # type: ignore[arg-type]


def test_who_speaks_is_who_fills_half_a_turn() -> None:
    labels = label_turns(episode(), recording())
    names = [SPEAKERS[i] for i in labels["speaker"]]
    assert names[2:5] == ["user"] * 3 and names[5] == "nobody" and names[10:15] == ["user"] * 5
    assert names[18:21] == ["model"] * 3  # decided in 17..19, heard one turn later
    assert names[22:25] == ["other"] * 3
    assert np.flatnonzero(labels["onset"]).tolist() == [17]
    assert np.flatnonzero(labels["model_speaks"]).tolist() == [18, 19, 20]


def test_seconds_count_from_the_end_of_a_turn() -> None:
    labels = label_turns(episode(), recording())
    assert np.isnan(labels["since_start"][0]) and labels["since_start"][2] == pytest.approx(0.2)
    assert labels["since_stop"][3] == 0 and labels["since_stop"][5] == pytest.approx(0.2)
    assert labels["since_start"][10] == pytest.approx(0.2)  # the second run
    assert np.isnan(labels["since_asked"][13]) and labels["since_asked"][15] == pytest.approx(0.2)


def test_a_pause_and_an_end_are_told_apart() -> None:
    labels = label_turns(episode(), recording())
    assert labels["gap"][4:10].tolist() == [GAPS.index("pause")] * 6
    assert labels["gap_turn"][4:10].tolist() == [0, 1, 2, 3, 4, 5]
    assert labels["gap"][10:14].tolist() == [0] * 4 and labels["gap"][14] == GAPS.index("end")
    assert labels["talked"][4] == pytest.approx(0.6) and labels["talked"][14] == pytest.approx(2.6)
    assert labels["ends_in"][2:15].tolist() == list(range(12, -1, -1)) and labels["ends_in"][15] == -1
    assert labels["owed"][15:24].all() and not labels["owed"][:14].any() and not labels["owed"][25:].any()


def test_ticks_are_asked_for_once() -> None:
    ticks = [Expect(("tick",), due, 2.0, (), "time") for due in (3.0, 5.0)]
    told = episode(expects=ticks, segments=[Segment(0.4, 1.0, "tick", "user")])
    assert asked_at(told) == [1.0]
    until = label_turns(told, recording())["until_due"]
    assert until[4] == pytest.approx(2.0) and until[15] == pytest.approx(1.8) and np.isnan(until[29])


def test_actions_seen_are_counted_where_they_are_asked_for() -> None:
    seen = [Expect((word,), due, None, (), "cue") for word, due in (("one", 1.0), ("two", 2.1))]
    count = label_turns(episode(family="count_actions", expects=seen), recording())["count"]
    assert count[3] == 0 and count[4] == 1 and count[10] == 2
    assert np.isnan(label_turns(episode(), recording())["count"]).all()


def test_an_episode_without_words_has_no_gaps() -> None:
    labels = label_turns(episode(segments=[], expects=[]), recording(()))
    assert (labels["gap"] == 0).all() and (labels["ends_in"] == -1).all() and np.isnan(labels["since_start"]).all()
