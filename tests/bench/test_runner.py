"""A model played alone and in a batch; decisions imposed; the registry's result."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tests.bench.scenes import answer, scene, user
from tml_lab.bench import registry
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.fdb import measure_smooth
from tml_lab.bench.grading import Estimate
from tml_lab.bench.runner import play_alone, play_batched
from tml_lab.bench.scoreboard import scores_markdown
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())
EPISODES = [
    scene("a", 7, typed=[(1, "what is two plus three")], seed=1),
    scene("b", 5, seed=2),
    scene("c", 7, typed=[(0, "stop"), (2, "count to ten"), (2, "please")], seed=3),
]
WISHES = ["..SS.S.", "S..S.", "SS....S"]


def impose(wishes: str):
    return lambda turn, last: SPEAK if wishes[turn] == "S" else SILENT


def test_a_batch_does_what_sessions_do() -> None:
    model = new_model("pico", TOKENIZER, seed=3).eval()
    batched = play_batched(model, TOKENIZER, EPISODES, [impose(w) for w in WISHES], batch=3)
    for episode, wishes, log in zip(EPISODES, WISHES, batched, strict=True):
        alone = play_alone(model, TOKENIZER, episode, impose(wishes))
        assert log.decisions == alone.decisions == tuple(SPEAK if w == "S" else SILENT for w in wishes)
        assert log.words == alone.words


def test_free_running_logs_agree_too() -> None:
    model = new_model("pico", TOKENIZER, seed=5).eval()
    (log,) = play_batched(model, TOKENIZER, EPISODES[:1])
    alone = play_alone(model, TOKENIZER, EPISODES[0])
    assert log.words == alone.words
    assert log.p_speak == pytest.approx(alone.p_speak, abs=1e-4)


# ---- registry

SENTENCE = [(11, "that"), (13, "is"), (15, "five")]
QUESTIONS = [
    scene("arithmetic", 30, SENTENCE, [answer("five", 2.0)], [user(0.4, 2.0)], seed=i) for i in range(4)
]
TOY = Benchmark(
    "toy",
    "Toy",
    lambda n, seed, split: QUESTIONS[:n],
    measure_smooth,
    "takeover",
    {"takeover": ">= 0.95"},
    {"people": "1"},
)


def test_the_result_names_machine_seed_rows_and_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BENCHMARKS, "toy", TOY)
    out = io.StringIO()
    result = registry.run_players(
        [SilentPlayer(), OracleLatePlayer()],
        ["toy"],
        n=3,
        seed=7,
        label="none",
        console=Console(file=out, width=200),
    )
    assert json.loads(json.dumps(result)) == result
    assert result["machine"]["cpu"] and result["date"].endswith("Z") and result["seed"] == 7
    silent, oracle = result["results"]
    assert (silent["row"], oracle["row"]) == ("silent", "oracle-late")
    assert silent["goals_met"] == {"takeover": False} and oracle["goals_met"] == {"takeover": True}
    assert oracle["metrics"]["takeover"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 3}
    printed = out.getvalue()
    assert "oracle-" in printed and "takeover" in printed and "1.000" in printed
    assert "seed 7" in printed and "not comparable" in printed


def test_unknown_names_are_refused_and_groups_unfolded() -> None:
    with pytest.raises(ValueError, match="no benchmark is called 'timespeek'"):
        registry.select(["timespeek"])
    assert [b.name for b in registry.select(["fdb", "fdb_pause"])] == list(registry.GROUPS["fdb"])
    usual = [b.name for b in registry.select([])]
    groups = ("further", "seen", "camera", "late", "lasting")
    later = {"echo", *(name for group in groups for name in registry.GROUPS[group])}
    assert set(usual) | later == set(registry.BENCHMARKS) and not set(usual) & later


def test_goals_compare_both_ways() -> None:
    estimate = Estimate(0.9, 0.8, 1.0, 10)
    assert registry.meets(estimate, ">= 0.90") and not registry.meets(estimate, "<= 0.10")


def test_the_model_cards_table_has_a_line_for_every_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BENCHMARKS, "toy", TOY)
    model = OracleLatePlayer(0)
    model.name = "model"
    players = [model, SilentPlayer()]
    result = registry.run_players(players, ["toy"], n=2, label="none", console=Console(file=io.StringIO()))
    lines = scores_markdown(result).splitlines()
    assert lines[0] == "| benchmark | figure | goal | met | model | silent | items |"
    assert lines[2] == (
        "| Toy (test) | takeover | >= 0.95 | yes | 1.000 [1.000, 1.000] | 0.000 [0.000, 0.000] | 2 |"
    )
