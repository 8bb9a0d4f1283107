"""A run that is interrupted goes on; one that ended begins anew."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.bench.test_runner import QUESTIONS, TOY
from tml_lab.bench import registry
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.fdb import measure_smooth

OTHER = Benchmark("other", "Other", lambda n, seed, split: QUESTIONS[:n], measure_smooth, "takeover")


class Fragile(SilentPlayer):
    """Breaks off in the play that it is told."""

    def __init__(self, breaks_in: int = 0) -> None:
        self.plays, self.breaks_in = 0, breaks_in

    def play(self, episodes: Any) -> Any:
        self.plays += 1
        if self.plays == self.breaks_in:
            raise KeyboardInterrupt
        return super().play(episodes)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BENCHMARKS, "toy", TOY)
    monkeypatch.setitem(registry.BENCHMARKS, "other", OTHER)


def run(player: Any, path: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"n": 2, "label": "none", **options}
    return registry.run_players(
        [OracleLatePlayer(), player], ["toy", "other"], json_path=path, console=Console(file=io.StringIO()), **given
    )


def test_an_interrupted_run_goes_on_behind_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scores.json"
    with pytest.raises(KeyboardInterrupt):
        run(Fragile(2), path)
    half = json.loads(path.read_text())
    assert half["unfinished"] and {row["benchmark"] for row in half["results"]} == {"toy"}
    again = Fragile()
    result = run(again, path)
    assert again.plays == 1, "the first benchmark was there already"
    assert json.loads(path.read_text()) == result and "unfinished" not in result
    whole = run(Fragile(), tmp_path / "whole.json")
    assert [{**row, "seconds": 0} for row in result["results"]] == [{**row, "seconds": 0} for row in whole["results"]]


@pytest.mark.parametrize("change", [{"n": 1}, {"seed": 1}, {"label": "other"}, {"afresh": True}])
def test_another_runs_rows_are_not_taken_for_this_ones(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "scores.json"
    with pytest.raises(KeyboardInterrupt):
        run(Fragile(2), path)
    player = Fragile()
    run(player, path, **change)
    assert player.plays == 2


def test_a_run_that_ended_is_repeated_and_a_broken_file_written_over(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    for before in (None, "[]", '{"unfinished": true}', "{"):
        if before is not None:
            path.write_text(before)
        player = Fragile()
        run(player, path)
        assert player.plays == 2


def test_a_full_run_has_as_many_items_as_five_points_need() -> None:
    assert TOY.full_size("test") == 385
    four = Benchmark("four", "Of four families", lambda n, seed, split: QUESTIONS * n, measure_smooth, "takeover")
    assert four.full_size("test") == 97 and 1.96 * (0.25 / (4 * 97)) ** 0.5 <= 0.05
