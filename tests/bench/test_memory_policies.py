"""The choice of a policy of memory: training voices alone, the rule, and figures paired session by session."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import memory_policies as mp
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.long_memory import LongEmissions
from tml_lab.worlds.remembered import POLICIES
from tml_lab.worlds.voices import VoiceBank


def one(told: str, index: int, policy: str, right: dict[str, float], unasked: int) -> dict[str, Any]:
    life = mp.Life(told, index)
    return {
        "benchmark": life.name, "row": policy, "told": told, "fill": life.fill, "right": right,
        "unasked": {"1": 0, "5": 0, "15": unasked},
    }  # fmt: skip


def test_every_family_meets_every_fill_and_no_session_comes_twice() -> None:
    lives = mp.lives(6, 4, 4, 3)
    assert [life.name for life in lives[:3]] == ["standing 0", "name 0", "standing 1"]
    assert len(set(lives)) == 17 and [life.told for life in lives[-4:]] == ["quiet", *["later"] * 3]
    assert {life.fill for life in lives if life.told == "quiet"} == set(mp.QUIET)
    for told in ("standing", "name"):
        assert {life.fill for life in lives if life.told == told} == set(mp.FILLS)


def test_items_are_in_training_voices_and_the_oracle_gets_them_right() -> None:
    bank = VoiceBank.open("train", quiet=True)
    life, others = mp.Life("name", 0), [mp.Life(told, 0) for told in ("quiet", "later")]
    items = life.items(11, bank)
    assert [item.family for item in items] == [f"{f}@{m}" for f in ("name", "remind") for m in (1, 5, 15)]
    assert {item.split for item in items} == {"train"}
    assert len({item.seed for item in (*items, *(item for other in others for item in other.items(11, bank)))}) == 3
    found = mp.row(life, "oracle", items, OracleLatePlayer().play(items))
    assert set(found["right"].values()) == {1.0} and (found["fill"], found["unasked"]) == ("silence", {})
    logs = [LongEmissions(0, (), (), (), unasked=n) for n, item in enumerate(items)]
    found = mp.row(life, "silent", items, logs)
    assert set(found["right"].values()) == {0.0} and found["unasked"] == {"1": 3, "5": 4, "15": 5}


def test_figures_are_means_over_families_and_changes_are_paired() -> None:
    rows = []
    for policy in POLICIES:
        better = 0.5 if policy == "compact" else 0.0
        for index in (0, 1):
            rows.append(one("standing", index, policy, {"standing@1": 1.0, "standing@15": 0.5 * index}, 15 * index))
            rows.append(one("name", index, policy, {"name@1": 0.5 * index + better, "remind@1": 1.0}, 0))
        rows.append(one("quiet", 0, policy, {"name@2": 1.0}, 30))
    found = mp.summary(rows, 0)
    base, compact = found[mp.BASE]["figures"], found["compact"]
    assert base["right:standing"]["value"] == pytest.approx(0.625)  # (1 + 0) / 2 and (1 + 0.5) / 2
    assert base["right:name"]["value"] == pytest.approx(0.25)
    assert base["right"]["value"] == pytest.approx((0.625 + 0.25 + 1.0) / 3) and base["right"]["n"] == 6
    assert base["right@15"]["value"] == pytest.approx(0.25) and base["right:name/room"]["value"] == 0.5
    assert base["unasked/room"]["value"] == pytest.approx(0.5) and base["unasked/silence"]["value"] == 0.5
    assert base["unasked:name/silence"]["value"] == 1.0 and base["unasked:name/silence"]["n"] == 2  # `quiet` among them
    change = compact["changes"]["right:name"]
    assert change["value"] == change["low"] == change["high"] == 0.5  # paired: the same in each session
    assert compact["changes"]["right:standing"]["value"] == 0.0


def test_the_rule() -> None:
    def figures(right: float, silence: float = 0.0, room: float = 0.1) -> dict[str, float]:
        return {"right": right, "unasked/silence": silence, "unasked/room": room}

    found = {"window": figures(0.5), mp.BASE: figures(0.5), "instructions": figures(0.6), "compact": figures(0.9)}
    assert mp.choose(found) == "compact"
    assert mp.choose(found | {"compact": figures(0.9, room=0.2)}) == "compact"  # not more than .1 more
    assert mp.choose(found | {"compact": figures(0.9, room=0.21)}) == "instructions"
    assert mp.choose(found | {"compact": figures(0.9, silence=0.11)}) == "instructions"
    assert mp.choose({name: figures(0.5) for name in found}) == mp.BASE
