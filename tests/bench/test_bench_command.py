"""`tml bench` with what cannot be done: one clear sentence, exit code 1, nothing loaded and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tml_lab import cli
from tml_lab.bench import registry

NONE_HUMAN = "none of the chosen benchmarks has a split human: name one that has, of human_numbers."


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise AssertionError("the checkpoint was loaded before the wish was looked at")

    monkeypatch.setattr(registry, "load_checkpoint", load)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (["cuespeak", "--split", "human"], "cuespeak has no split human: choose from test."),
        (["cuespeak", "--split", "tset"], "no benchmark has a split 'tset'; choose from test, human."),
        (["--split", "test", "--split", "tset"], "no benchmark has a split 'tset'; choose from test, human."),
        (["fdb", "--split", "human"], NONE_HUMAN),
        (["cuespeak", "human_numbers", "--split", "human"], "cuespeak has no split human: choose from test."),
        (["cuespeak", "--split", "test", "--split", "human"], NONE_HUMAN),
        (["cuespeak", "--device", "foo"], "'foo' is not a device: use cpu or cuda."),
        (["cuespeak", "--device", "cuda"], "this machine has no CUDA device: use --device cpu."),
        (["cuespeak", "--seed", "-1"], "the seed of the items is a whole number from 0 on, not -1."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, wish: list[str], says: str) -> None:
    json, pages = tmp_path / "scores.json", tmp_path / "pages"
    result = CliRunner().invoke(cli.app, ["bench", *wish, "--json", str(json), "--report", str(pages)])
    assert (result.exit_code, result.stderr) == (1, f"tml: {says}\n")
    assert not json.exists() and not pages.exists()


def test_splits_choose_among_those_that_benchmarks_have() -> None:
    def plan(names: list[str], splits: list[str] | None) -> list[tuple[str, str]]:
        return [(benchmark.name, split) for benchmark, split in registry.planned(names, splits)]

    assert plan([], ["human"]) == plan(["all"], ["human"]) == [("human_numbers", "human")]
    assert plan(["cuespeak", "human_numbers"], None) == [("cuespeak", "test"), ("human_numbers", "human")]
    assert plan(["cuespeak", "human_numbers"], ["human", "test"]) == plan(["cuespeak", "human_numbers"], [])
    assert plan(["fdb", "human_numbers"], ["human"]) == [("human_numbers", "human")]


def test_the_library_refuses_a_split_as_the_command_does(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no benchmark has a split 'tset'"):
        registry.run_players([], ["cuespeak"], splits=["tset"], json_path=tmp_path / "scores.json")
    assert not (tmp_path / "scores.json").exists()
