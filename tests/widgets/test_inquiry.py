"""Why now and what if, as the page asks them, on a live session of a real model; answered in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load

from tml_lab.config import TURN_SAMPLES
from tml_lab.serve.session import Session as AnySession
from tml_lab.stream.policy import MEMORY
from tml_lab.worlds import remembered
from tml_widgets import Console
from tml_widgets.protocol import from_pcm, to_pcm
from tml_widgets.snapshots import FINE, Snapshots

CHUNKS = 40
FIRST = 7  # the page's number of its first chunk
LOST = {15: 1, 28: 3}  # before which chunk how many were lost: the first is skipped over, the others are gaps
TURNS = CHUNKS + 4
HOLE, GAPS = 15, [29, 30, 31]  # turns


class Here:
    """Answers at once, in the thread that asks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.excerpts: list[Any] = []

    def ask(self, question: Callable[..., Any], excerpt: Any, *more: Any, told: Any, done: Any, failed: Any) -> None:
        self.excerpts.append(excerpt)
        try:
            done(question(excerpt, *self.console.checkpoint, *more, told=told))
        except ValueError as error:
            failed(str(error))

    def close(self) -> None:
        """Nothing was started."""


@pytest.fixture(scope="module")
def talked(pico: str) -> Iterator[tuple[Console, list[dict], Here]]:
    """A console after 44 turns of noise and losses, words typed in turn 5; questions are answered here.

    Its session listens along, and takes notes: the policy of memory that has most to keep.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remembered, "USUAL", "compact")
        yield from _talked(Console(pico))


def _talked(console: Console) -> Iterator[tuple[Console, list[dict], Here]]:
    sent: list[dict] = []
    console.send = lambda content, buffers=None: sent.append({**content, "buffers": buffers or []})  # type: ignore[method-assign]
    here = Here(console)
    console.inquiry.aside = here  # type: ignore[assignment]
    console._on_message(console, {"kind": "start"}, [])
    console.wait(60)
    rng = np.random.default_rng(2)
    seq = FIRST
    for n in range(CHUNKS):
        seq += LOST.get(n, 0)
        if n == 5:
            console.type("stop now")
        sound = rng.standard_normal(TURN_SAMPLES) * 10.0 ** rng.uniform(-3, -0.7)
        chunk = {"kind": "chunk", "seq": seq, "t0": 0.0, "parts": ["pcm"]}
        seq += 1
        console._on_message(console, chunk, [to_pcm(sound)])
        console.wait(60)
    console._on_message(console, {"kind": "pause"}, [])  # or turns in which nothing is heard would go on
    console.wait(60)
    yield console, sent, here
    console.close()


def answers(sent: list[dict], kind: str) -> list[dict]:
    return [message for message in sent if message["kind"] == kind]


def test_of_a_model_that_runs_elsewhere_it_says_so(pico: str) -> None:
    console = Console(lambda: AnySession.local(pico))  # as a notebook's on a class's server
    sent: list[dict] = []
    console.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    console._on_message(console, {"kind": "start"}, [])
    chunk = {"kind": "chunk", "seq": 0, "t0": 0.0, "parts": ["pcm"]}
    console._on_message(console, chunk, [to_pcm(np.zeros(TURN_SAMPLES))])
    console.wait(60)
    console._on_message(console, {"kind": "why", "turn": 0}, [])
    console.close()
    (answer,) = answers(sent, "why")
    assert answer["failed"].startswith("This model runs elsewhere: save the session")


@pytest.mark.parametrize("kind", ["why", "whatif"])
def test_before_a_session_there_is_nothing_to_ask_about(pico: str, kind: str) -> None:
    console = Console(pico)
    sent: list[dict] = []
    console.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    console._on_message(console, {"kind": kind, "turn": None, "from": 0, "to": 1, "blank": [], "typed": ""}, [])
    assert [answer["failed"] for answer in answers(sent, kind)] == [
        "Nothing has happened yet: start a session first."
    ]
    console.close()


def test_what_was_lost_took_its_time(talked: tuple[Console, list[dict], Here]) -> None:
    console, _, _ = talked
    assert [row.turn for row in console.turns] == [n for n in range(TURNS) if n != HOLE]
    assert {row.turn: row.missed for row in console.turns if row.missed} == {HOLE + 1: 1} | dict.fromkeys(GAPS, 1)


def test_why_of_a_turn_is_told_step_by_step_in_the_sessions_turns(talked: tuple[Console, list[dict], Here]) -> None:
    console, sent, here = talked
    sent.clear()
    console._on_message(console, {"kind": "why", "turn": 33}, [])
    first, *_, last = answers(sent, "why")
    assert first["share"] == 0 and last["share"] == 1
    assert len(last["tried"]) == 17 + 1  # 34 turns, two by two, and the message
    assert (last["turn"], last["to"]) == (33, 34)
    (row,) = (row for row in console.turns if row.turn == 33)
    assert last["p"] == round(row.p_speak, 4)
    assert {part["stream"] for part in last["tried"]} == {"heard", "typed"}
    assert [part["words"] for part in last["tried"] if part["stream"] == "typed"] == ["stop now"]
    assert all(0 <= part["from"] < part["to"] <= 34 for part in last["tried"])
    assert last["sentence"].startswith("At 6.6 s it ")
    assert here.excerpts[-1].first == 0


def test_why_now_asks_about_the_last_time_it_began_to_speak(talked: tuple[Console, list[dict], Here]) -> None:
    console, sent, _ = talked
    sent.clear()
    console._on_message(console, {"kind": "why", "turn": None}, [])
    pairs = zip(console.turns, console.turns[1:], strict=False)
    onsets = [row.turn for before, row in pairs if row.decision == "<speak>" != before.decision]
    assert answers(sent, "why")[-1]["turn"] == (onsets[-1] if onsets else TURNS - 1)


def test_what_if_runs_both_ways_and_both_can_be_heard(talked: tuple[Console, list[dict], Here]) -> None:
    console, sent, here = talked
    sent.clear()
    asked = {"kind": "whatif", "from": 18, "to": 21, "parts": ["audio"], "typed": "one"}
    console._on_message(console, asked, [])
    last = answers(sent, "whatif")[-1]
    assert here.excerpts[-1].first == 10  # the nearest state that was kept, not the beginning
    was, would = last["was"], last["would"]
    shown = [row for row in console.turns if row.turn >= 13]
    assert [turn["turn"] for turn in was] == [turn["turn"] for turn in would] == [row.turn for row in shown]
    assert [turn["p_speak"] for turn in was] == [round(row.p_speak, 5) for row in shown]
    assert [turn["turn"] for turn in was if turn["missed"]] == GAPS
    assert was[:4] == would[:4] and was[4:] != would[4:]
    assert would[4]["typed"] == "one" and max(would[5]["loud"][0]) < max(was[5]["loud"][0])
    sounds = [from_pcm(buffer) for buffer in last["buffers"]]
    assert last["parts"] == ["was", "would"]
    assert [len(sound) for sound in sounds] == [(TURNS - 13 + 1) * TURN_SAMPLES] * 2
    assert np.array_equal(sounds[0][: 5 * TURN_SAMPLES], sounds[1][: 5 * TURN_SAMPLES])

    console._on_message(console, {**asked, "from": 3, "to": 4}, [])
    begins = here.excerpts[-1]
    assert begins.first == 0 and MEMORY in load(begins.state), "the policy of memory begins with the session"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "why", "turn": HOLE}, "The session ran no turn at 3.0 s"),
        ({"kind": "whatif", "from": 400, "to": 401, "parts": ["audio"]}, "The session ran no turn at 80.0 s"),
        ({"kind": "whatif", "from": 9, "to": 9, "parts": []}, "Nothing is changed"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(
    talked: tuple[Console, list[dict], Here], asked: dict, words: str
) -> None:
    console, sent, _ = talked
    sent.clear()
    console._on_message(console, asked, [])
    (answer,) = sent
    assert answer["failed"].startswith(words) and answer["failed"].endswith(".")


def test_nothing_has_happened_yet(pico: str) -> None:
    console = Console(pico)
    sent: list[dict] = []
    console.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    console._on_message(console, {"kind": "why", "turn": None}, [])
    assert "failed" in sent[-1]
    console.close()


class Walking:
    """A session of which only turn and state are asked."""

    def __init__(self) -> None:
        self.turn, self.state = 0, {}


def test_snapshots_are_dense_near_now_and_sparse_before() -> None:
    snapshots, session = Snapshots(), Walking()
    for _ in range(2000):
        session.turn += 1
        snapshots.keep(session)
    kept = sorted(snapshots._kept)
    assert len(kept) < 30 and kept[0] >= 2000 - 900
    assert kept[-7:] == list(range(2000 - 6 * FINE, 2001, FINE))
    assert snapshots.before(1999) is snapshots._kept[1990] and snapshots.before(100) is None
    session.turn = 1
    snapshots.keep(session)
    assert snapshots.oldest is None  # a new session has no past
