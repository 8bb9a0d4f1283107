"""Weights in shares (FSDP2) on two CPU processes: the model that whole weights give, its state saved and taken up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.train.loop import train
from tml_lab.train.shards import write_shard

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch.distributed.tensor import DTensor
import tml_lab.train.loop as loop
from tml_lab.config import TRAIN_PRESETS
from tml_lab.train.parallel import join

TRAIN_PRESETS["pico"] = replace(TRAIN_PRESETS["pico"], as_shipped_from=2.0)  # shares cannot
folder = Path(sys.argv[1])
rank, world = join()
whole = loop.train("pico", folder / "whole", episodes=folder / "shards", steps=4, seed=1)
shares = loop.train("pico", folder / "shares", episodes=folder / "shards", steps=4, seed=1, sharded=True)
held = {}
real = loop.open_trainer
def opened(*args, **kwargs):
    trainer = real(*args, **kwargs)
    held["own"] = sum(p.to_local().numel() for p in trainer.model.parameters() if isinstance(p, DTensor))
    held["all"] = sum(p.numel() for p in trainer.model.parameters())
    held["matrices"] = sum(p.numel() for group in trainer.muon.param_groups for p in group["params"])
    held["momentum"] = [s["momentum"].to_local().numel() for s in trainer.muon.state.values()]
    return trainer
loop.open_trainer = opened
loop.train("pico", folder / "shares", episodes=folder / "shards", steps=6, seed=1, sharded=True)
(folder / f"rank{rank}.json").write_text(json.dumps({"world": world, **held}))
"""


def test_shares_train_as_the_whole_does_and_go_on_where_they_stopped(in_two_processes, tmp_path: Path) -> None:
    reports = in_two_processes(SCRIPT)
    for report in reports:
        assert report["world"] == 2 and 0.3 * report["all"] < report["own"] < 0.7 * report["all"]
        assert 0 < sum(report["momentum"]) < 0.7 * report["matrices"]
    assert sum(report["own"] for report in reports) == reports[0]["all"]
    logs = [
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("whole", "shares")
    ]
    assert [row["step"] for row in logs[1]] == [1, 2, 3, 4, 5, 6]
    for one, other in zip(logs[0], logs[1][:4], strict=True):
        assert abs(one["text"] - other["text"]) < 2e-3 and abs(one["flow"] - other["flow"]) < 2e-3
    model, _ = load_checkpoint(tmp_path / "shares")
    assert all(torch.isfinite(t).all() for t in model.state_dict().values() if t.is_floating_point())


def test_shares_need_company(scenes, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards" / "episodes-00000.safetensors", scenes(8))
    with pytest.raises(ValueError, match="several processes only"):
        train("pico", tmp_path / "run", episodes=tmp_path / "shards", steps=1, sharded=True)
