"""The Python side of the presenter's console, with a real model and no browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tml_lab.stream.session import Session
from tml_widgets import Clip, Console


@pytest.fixture
def open_console() -> Iterator[Callable[..., tuple[Console, list[dict]]]]:
    """Make a `Console` that also lists what it sends; closed after the test."""
    opened: list[Console] = []

    def make(*args: Any, **kwargs: Any) -> tuple[Console, list[dict]]:
        console = Console(*args, **kwargs)
        sent: list[dict] = []
        console.send = lambda content, buffers=None: sent.append({**content, "buffers": buffers or []})  # type: ignore[method-assign]
        opened.append(console)
        return console, sent

    yield make
    for console in opened:
        console.close()


def settle(console: Console, sent: list[dict], kind: str) -> dict:
    """Let the worker do everything that it has asked of itself, until a message of this kind is there."""
    for _ in range(1000):
        console.wait(60)
        if found := [message for message in sent if message["kind"] == kind]:
            return found[-1]
    raise AssertionError(f"no {kind} message came")


def test_the_fall_back_is_what_the_model_itself_says(open_console: Callable, pico: str, clip: Clip) -> None:
    console, sent = open_console(pico, fallback=clip)
    console._on_message(console, {"kind": "hello"}, [])
    message = settle(console, sent, "fallback")
    kinds = [part["kind"] for part in message["messages"]]
    assert kinds == ["heard", "turn"] * (clip.inputs.turns + 15)  # and 3 s of silence
    assert len(message["buffers"]) == sum(len(part["parts"]) for part in message["messages"])
    assert [part["typed"] for part in message["messages"] if part["kind"] == "turn"].index("stop now") == 2
    assert [part["text"] for part in message["messages"] if part["kind"] == "heard"].count("hiss") == 1
    session = Session(*console.checkpoint)
    said = [session.step(chunk.audio, chunk.frames, chunk.text) for chunk in clip.chunks()]
    told = [part["p_speak"] for part in message["messages"] if part["kind"] == "turn"]
    assert told == [round(turn.p_speak, 5) for turn in said]
    assert console.turns == [] and console.phase == "stopped"  # the live session knows nothing of it


def test_a_live_session_need_not_wait_for_the_rehearsal(open_console: Callable, pico: str, clip: Clip) -> None:
    console, sent = open_console(pico, fallback=clip)
    console._on_message(console, {"kind": "hello"}, [])
    console._on_message(console, {"kind": "start"}, [])
    settle(console, sent, "fallback")
    order = [message["kind"] for message in sent]
    assert order.index("ready") < order.index("fallback")


def test_a_page_that_comes_later_gets_the_same_fall_back(open_console: Callable, pico: str, clip: Clip) -> None:
    console, sent = open_console(pico, fallback=clip)
    console._on_message(console, {"kind": "hello"}, [])
    first = settle(console, sent, "fallback")
    sent.clear()
    console._on_message(console, {"kind": "hello"}, [])
    assert settle(console, sent, "fallback") == first


def test_a_fall_back_that_cannot_be_rehearsed_says_why(open_console: Callable, clip: Clip) -> None:
    console, sent = open_console("no-such-checkpoint", fallback=clip)
    console._on_message(console, {"kind": "hello"}, [])
    message = settle(console, sent, "fallback")
    assert message["messages"] == [] and message["failed"].startswith("The model could not be started: ")
    assert console.phase == "stopped"  # what is wrong is said of the session when one is asked for


def test_an_unknown_fall_back_is_refused_at_once(pico: str) -> None:
    with pytest.raises(ValueError, match="no sound file at no such clip"):
        Console(pico, fallback="no such clip")


def test_attention_by_patch_goes_to_the_page(open_console: Callable, pico: str) -> None:
    console, sent = open_console(pico)
    console.pick(1, 0)
    console._on_message(console, {"kind": "start"}, [])
    pictures = np.random.default_rng(0).integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
    pcm = np.zeros(3200, "<i2").tobytes()
    content = {"kind": "chunk", "seq": 0, "t0": 0.0, "size": [160, 120], "parts": ["pcm", "rgb"]}
    console.wait(60)
    console._on_message(console, content, [pcm, pictures.tobytes()])
    turn = settle(console, sent, "turn")
    patches = np.frombuffer(turn["buffers"][turn["parts"].index("patches")], np.float32)
    assert turn["grid"] == [3, 4] and patches.shape == (12,)
    assert patches.sum() == pytest.approx(turn["shares"][1], abs=1e-3)
