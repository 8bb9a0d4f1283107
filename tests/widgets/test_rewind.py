"""A live session that goes back to one of its turns and on from there: the same past to the bit, another future."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES
from tml_lab.serve.session import Session as AnySession
from tml_lab.stream.replay import differences, replay
from tml_widgets import Console, LiveSession, Microphone
from tml_widgets.protocol import to_pcm
from tml_widgets.snapshots import FINE

TURNS, BACK = 4 * FINE + 3, 2 * FINE + 4


def talk(live: LiveSession, turns: range, seed: int = 0) -> None:
    """Noise that is another one in each turn, and the same for the same seed."""
    for turn in turns:
        rng = np.random.default_rng([seed, turn])
        sound = rng.standard_normal(TURN_SAMPLES) * 10.0 ** rng.uniform(-3, -0.7)
        live._on_message(live, {"kind": "chunk", "seq": turn, "t0": 0.0, "parts": ["pcm"]}, [to_pcm(sound)])
        live.wait(60)


def go_on(live: LiveSession, seq: int) -> None:
    live._on_message(live, {"kind": "resume", "seq": seq}, [])
    live.wait(60)


@pytest.fixture
def console(pico: str) -> Any:
    console = Console(pico, Microphone())
    sent: list[dict] = []
    console.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    console._on_message(console, {"kind": "start"}, [])
    console.type("stop now")
    talk(console, range(TURNS))
    yield console, sent
    console.close()


def test_what_is_said_again_brings_the_same_and_what_is_said_otherwise_another_way(console: Any) -> None:
    console, sent = console
    console.bookmarks = [3, BACK + 2]
    first = console.recording
    console._on_message(console, {"kind": "rewind", "turn": BACK, "page": "this page"}, [])
    console.wait(60)
    assert console.phase == "paused" and console.notice.startswith(f"Back at {BACK / 5:.1f} s")
    assert [row.turn for row in console.turns] == list(range(BACK)) and console.bookmarks == [3]
    assert {"kind": "past", "turns": [], "until": BACK} in sent
    assert sent[-1]["held"] == "this page"  # other pages close their microphones
    assert differences(console.before, first) == []
    talk(console, range(TURNS, TURNS + 2))  # on its way when it went back: not heard
    assert len(console.turns) == BACK
    go_on(console, BACK)
    talk(console, range(BACK, TURNS))
    assert differences(console.recording, first) == []  # nothing was said otherwise
    console.rewind(BACK / 5)  # a float: the second
    console.wait(60)
    go_on(console, 1000)
    for turn in range(BACK, TURNS):
        talk(console, range(1000 + turn, 1001 + turn), seed=1)
    other = console.recording
    assert np.array_equal(other.p_speak[:BACK], first.p_speak[:BACK])
    assert other.turns == TURNS and not np.any(other.p_speak[BACK:] == first.p_speak[BACK:])
    assert differences(replay(other, *console.checkpoint), other) == []
    assert differences(console.before, first) == []


def test_only_what_came_after_the_last_kept_state_is_run_again(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    console, _ = console
    kept: list[Any] = []
    snapshots = console.inquiry.snapshots
    before = snapshots.before

    def noted(turn: int) -> Any:
        kept.append(before(turn))
        return kept[-1]

    monkeypatch.setattr(snapshots, "before", noted)
    for turn in (BACK, FINE):
        console.rewind(turn)
        console.wait(60)
        go_on(console, 0)
        talk(console, range(2 * FINE))
    # the second time a state of the first way back, of turns that are gone now, must not be taken
    assert [int(state["turn"]) for state in kept] == [2 * FINE, FINE]
    assert sorted(snapshots._kept) == [FINE, 2 * FINE, 3 * FINE]


def test_a_turn_that_was_not_is_one_sentence_and_the_session_stays(console: Any) -> None:
    console, _ = console
    before = console.recording
    console.rewind(TURNS + 1)
    console.wait(60)
    assert console.phase == "paused" and console.notice.startswith(f"Cannot fork at turn {TURNS + 1}: ")
    go_on(console, TURNS)
    talk(console, range(TURNS, TURNS + 1))
    assert differences(console.recording.until(TURNS), before) == []


def test_before_a_session_there_is_nothing_to_go_back_to(open_live: Callable, pico: str) -> None:
    live, _ = open_live(pico, Microphone())
    live.rewind(3)
    live.wait(60)
    assert live.phase == "stopped" and live.notice.startswith("There is no session that can go back")


def test_a_session_on_a_server_goes_back_there(open_live: Callable, pico: str) -> None:
    live, _ = open_live(lambda: AnySession.local(pico), Microphone())
    live._on_message(live, {"kind": "start"}, [])
    talk(live, range(8))
    first = live.recording
    live.rewind(5)
    live.wait(60)
    go_on(live, 5)
    talk(live, range(5, 8))
    assert live.phase == "live" and differences(live.recording, first) == []
