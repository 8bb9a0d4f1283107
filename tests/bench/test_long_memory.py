"""Long sessions as items: what is told, what is asked, and who remembers by which policy."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.bench import long_memory
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.registry import select
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.stream.policy import SinksAndWindow
from tml_lab.stream.session import Session

MINUTES = (0.02, 0.05)  # 6 and 15 turns


@pytest.fixture(scope="module")
def items() -> list[long_memory.LongEpisode]:
    return long_memory.items(2, 0, "test", MINUTES, ("silence", "small talk"))


def test_items_are_told_first_and_asked_at_each_distance(items: list[long_memory.LongEpisode]) -> None:
    assert [item.family for item in items[:6]] == [f"{f}@{m}" for f in long_memory.FAMILIES for m in MINUTES]
    again = long_memory.items(2, 0, "test", MINUTES, ("silence", "small talk"))
    for one, other in zip(items, again, strict=True):
        assert np.array_equal(one.audio, other.audio) and one.wait == other.wait in (6, 15)
        assert one.expects and all(expect.due > one.told / 5 for expect in one.expects)
        assert len(one.expects) == (3 if one.family.startswith("standing") else 1)
    name, remind = items[0], items[4]
    assert np.array_equal(name.audio[: name.told * 3200], remind.audio[: remind.told * 3200])  # one session for both
    talk = items[-1].fill
    assert items[0].fill is None and talk is not None and talk.shape == (300 * 3200,) and talk.std() > 1e-3
    room = long_memory.items(1, 0, "test", MINUTES, ("room",))[0].fill
    assert room is not None and room.shape == talk.shape and room.std() == pytest.approx(long_memory.ROOM, rel=0.01)


def test_the_oracle_is_right_and_silence_is_not(items: list[long_memory.LongEpisode]) -> None:
    right = long_memory.measure(items, OracleLatePlayer().play(items), 0)
    wrong = long_memory.measure(items, SilentPlayer().play(items), 0)
    assert right["right"].value == 1.0 and right["right:name@0.05"].n == 2 and right["unasked"].n == 0
    assert wrong["right"].value == 0.0


def test_a_fork_at_each_distance_is_a_session_of_that_length(items: list[long_memory.LongEpisode]) -> None:
    model, tokenizer = load_checkpoint("pico")
    chosen = [item for item in items if item.family.startswith("standing")]
    logs = long_memory.PolicyPlayer(model, tokenizer, SinksAndWindow()).play(chosen[::-1])[::-1]
    for item, log in zip(chosen, logs, strict=True):
        session, typed = Session(model, tokenizer), dict(item.typed)
        p_speak = []
        for turn in range(item.n_turns):
            if turn == item.told:
                for n in range(item.wait):
                    fill = np.zeros(3200, np.float32) if item.fill is None else item.fill[n * 3200 : (n + 1) * 3200]
                    session.step(fill)
            heard = item.audio[turn * 3200 : (turn + 1) * 3200]
            p_speak.append(session.step(heard, text=typed.get(turn)).p_speak)
        assert log.p_speak == tuple(p_speak) and log.turns == item.n_turns


def test_each_policy_has_its_row() -> None:
    assert [b.name for b in select(["lasting"])] == ["long", "long_quick"]
    model, tokenizer = load_checkpoint("pico")
    names = [row.name for row in long_memory.policies(model, tokenizer)]
    assert names == ["window", "sinks+window", "instructions", "compact"]
    assert {item.family for item in long_memory.QUICK.items(1, 0, "test")} == {
        f"{family}@{minutes}" for family in long_memory.FAMILIES for minutes in (1, 5)
    }
