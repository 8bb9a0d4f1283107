"""Several processes, one model: the same weights in each, gradients averaged, work shared without changing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tml_lab.train.parallel import average_gradients, join, share_rows
from tml_lab.train.shards import write_shard

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from tml_lab.train.loop import train
from tml_lab.train.optimizer import orthogonalise
from tml_lab.train.parallel import average_gradients, join, share_rows

folder = Path(sys.argv[1])
rank, world = join()
p = nn.Parameter(torch.zeros(3))
unused = nn.Parameter(torch.zeros(2))
p.grad = torch.full((3,), float(rank))
average_gradients([p, unused])
rows = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(0))
shared, alone = share_rows(rows, orthogonalise), orthogonalise(rows)
out = train("pico", folder / "run", episodes=folder / "shards", steps=3, seed=1)
model_seen = []
import tml_lab.train.loop as loop
from tml_lab.config import TRAIN_PRESETS
trainer = loop.open_trainer("pico", out, ((folder / "shards", 1.0),), TRAIN_PRESETS["pico"], False, "cpu")
for batch, _ in zip(trainer.batches(), range(2)):
    trainer.one_step(batch)
    model_seen.append(batch.n_turns)
weights = torch.cat([q.detach().flatten() for q in trainer.model.parameters()]).double()
report = {
    "world": world, "mean": p.grad.tolist(), "unused": unused.grad.tolist(), "equal": torch.equal(shared, alone),
    "sum": weights.sum().item(), "norm": weights.norm().item(), "turns": model_seen,
}
(folder / f"rank{rank}.json").write_text(json.dumps(report))
"""


def test_two_processes_hold_one_model(in_two_processes, tmp_path: Path) -> None:
    first, second = in_two_processes(SCRIPT)
    assert first["world"] == 2 and first["mean"] == [0.5] * 3 and first["unused"] == [0.0] * 2
    assert first["equal"] and second["equal"]
    assert (first["sum"], first["norm"]) == (second["sum"], second["norm"])
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]  # written once, by the first process


ENDLESS = """
import sys
from pathlib import Path
from tml_lab.train.loop import train
from tml_lab.train.parallel import finish, launch

folder = Path(sys.argv[1])
if len(sys.argv) > 2:
    sys.exit(launch(2, [__file__, str(folder)]))
train("pico", folder / "run", episodes=folder / "shards", steps=1_000_000, seed=1, save_every=1e9)
finish()
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "kill"])
def test_an_interrupt_stops_all_after_one_step_and_loses_none(scenes, tmp_path: Path, how: str) -> None:
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards" / "episodes-00000.safetensors", scenes(60))
    (tmp_path / "endless.py").write_text(ENDLESS)
    command = [sys.executable, str(tmp_path / "endless.py"), str(tmp_path), "launch"]
    log, said = tmp_path / "run" / "log.jsonl", tmp_path / "said.txt"
    with said.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True) as run:
        deadline = time.monotonic() + 120
        while not log.is_file() or len(log.read_text().splitlines()) < 3:
            assert run.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        if how == "Ctrl-C":  # reaches the one that waits, the one that starts them, and both
            os.killpg(run.pid, signal.SIGINT)
        else:
            run.terminate()
        run.wait(120)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    kept = torch.load(tmp_path / "run" / "trainer.pt", weights_only=True)["step"]
    assert kept == steps[-1] >= 3, said.read_text()
    assert "goes on from here" in said.read_text()


def test_alone_nothing_is_shared() -> None:
    assert join() == (0, 1)
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.ones(2)
    average_gradients([p])
    assert torch.equal(p.grad, torch.ones(2)) and torch.equal(share_rows(p.grad, torch.neg), -p.grad)
