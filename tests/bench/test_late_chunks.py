"""Items over a bad line: the same item where nothing happens, the world's clock where something does."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from tests.bench.scenes import answer, scene, user
from tml_lab.bench import late_chunks, registry
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.emissions import spoken_as
from tml_lab.bench.over_line import COST, Listener, StandStill, live_through
from tml_lab.bench.runner import SteeredModel, play_alone
from tml_lab.bench.scoreboard import scores_markdown
from tml_lab.model.checkpoint import new_model
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.serve.catch_up import CatchUp
from tml_lab.serve.faults import FaultPlan, Loss, Stall
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())


@pytest.fixture
def model() -> InteractionModel:
    """It speaks in every turn."""
    steered = SteeredModel(new_model("pico", TOKENIZER, seed=3).eval(), TOKENIZER)
    steered.imposed = SPEAK
    return steered  # type: ignore[return-value]


def test_a_good_line_is_no_line(model: InteractionModel) -> None:
    item = scene("a", 12, typed=[(1, "what is two plus three")], seed=1)
    alone = play_alone(model, TOKENIZER, item, lambda turn, last: SPEAK)
    assert SPEAK in alone.decisions
    for keeper in (CatchUp(), StandStill()):
        lived = live_through(model, TOKENIZER, item, FaultPlan(), keeper)
        assert (lived.log.words, lived.log.decisions) == (alone.words, alone.decisions)
        assert lived.turns == {"hear": 12, "gap": 0, "skip": 0} and lived.unheard == 0


def test_under_the_old_rule_the_clock_stands_still_and_under_the_new_one_it_does_not(model: InteractionModel) -> None:
    plan = FaultPlan(seed=1, faults=(Loss(share=0.3),))
    item = scene("a", 20, seed=1)
    old, new = StandStill(), CatchUp()
    live_through(model, TOKENIZER, item, plan, old)
    lived = live_through(model, TOKENIZER, item, plan, new)
    lost = 20 - len(list(plan.arrivals(20)))
    assert lost > 2 and old.turn == 20 - lost and new.turn >= 19
    assert sum(lived.turns.values()) == new.turn and lived.turns["skip"] > 0


def test_a_listener_hears_late_speech_late_and_one_turn_after_the_other() -> None:
    listener = Listener([SILENT] * 10)
    listener.hear(0.6, ("one",))
    listener.hear(0.61, ("two",))  # the same moment: behind it
    listener.hear(1.0, ("three",))
    listener.hear(5.0, ("never",))  # after the end
    assert listener.words == [(2, "one"), (3, "two"), (4, "three")]
    assert [n for n, d in enumerate(listener.decisions) if d != SILENT] == [2, 3, 4] and COST < 0.2


def test_what_is_said_in_a_late_turn_is_not_heard(model: InteractionModel) -> None:
    item = scene("a", 30, seed=1)
    good = live_through(model, TOKENIZER, item, FaultPlan(), CatchUp())
    stalled = live_through(model, TOKENIZER, item, FaultPlan(faults=(Stall(at=1.0, seconds=3.0),)), CatchUp())
    assert good.unheard == 0 and good.log.decisions.count(SPEAK) == 30
    assert stalled.unheard == 11  # turns whose moment was over a second ago
    assert [n for n, d in enumerate(stalled.log.decisions) if d == SILENT] == list(range(4, 20))


def test_false_starts_are_utterances_that_begin_where_nothing_is_due() -> None:
    item = scene("a", 40, [], [answer("five", 2.0)], [user(1.0, 2.0)])
    assert late_chunks.false_starts(item, spoken_as(40, [(11, "five"), (12, "please"), (30, "six")])) == 1
    change = late_chunks.beside_itself(
        [item], [spoken_as(40, [(30, "six")])], [spoken_as(40, [(11, "five")])], seed=0
    )  # fmt: skip
    assert change["met_change"].value == -1.0 and change["false_starts_change"].value == 1.0


def test_the_rows_are_its_own_and_all_beside_the_first() -> None:
    assert [b.name for b in registry.select(["late"])] == ["cuespeak_late", "timespeak_late"]
    assert not {"cuespeak_late", "timespeak_late", "echo"} & set(registry.USUAL)
    names = [player.name for player in late_chunks.players(None, None)]  # type: ignore[arg-type]
    assert names[0] == "no faults" and len(set(names)) == len(names) == 17
    assert {"20 % lost", "20 % lost, each a gap", "20 % lost, clock stands still"} <= set(names)


def test_the_registry_plays_a_benchmarks_own_players(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        def __init__(self, name: str, script: list[tuple[int, str]]) -> None:
            self.name, self.script = name, script

        def play(self, episodes):
            return [spoken_as(item.n_turns, self.script) for item in episodes]

    from dataclasses import replace

    items = [scene("remind", 20, [], [answer("five", 2.0)]), scene("tick", 20, [], [answer("five", 2.0)])]
    here = replace(late_chunks.TIMESPEAK, items=lambda n, seed, split: items)
    monkeypatch.setitem(registry.BENCHMARKS, "timespeak_late", here)
    own = [Fixed("no faults", [(11, "five")]), Fixed("worse", [])]
    quiet = Console(file=io.StringIO())
    result = registry.run_players([SilentPlayer()], ["timespeak_late"], 1, console=quiet, instead=lambda _: own)
    first, worse = result["results"]
    assert first["metrics"]["met_change"]["value"] == 0.0 and worse["metrics"]["met_change"]["value"] == -1.0
    assert "| worse | strict |" in scores_markdown(result)
    assert np.isfinite(worse["metrics"]["strict"]["value"])
