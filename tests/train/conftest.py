"""A toy world for training tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tml_lab.train.parallel import launch
from tml_lab.train.shards import Rendered, write_shard
from tml_lab.worlds.reply_voice import reply_mel


def draw(n: int, seed: int = 0) -> list[Rendered]:
    """A toy world: one loud frame in a turn means `yes` in the next turn."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        turns = int(rng.integers(10, 14))
        mel = torch.full((turns * 4, 80), -5.0)
        at = int(rng.integers(1, turns - 5))
        mel[at * 4 : at * 4 + 4, 20:60] = 0.5
        k = len(reply_mel("yes")) // 16
        said = [(at + 1 + i, "yes", i) for i in range(k)]
        found.append(Rendered("toy", mel.half(), [(0, "stop")], said, ["hot", "cold"]))
    return found


@pytest.fixture(scope="session")
def scenes() -> Callable[..., list[Rendered]]:
    """`scenes(n, seed)`: toy episodes in which one loud frame in a turn means `yes` in the next turn."""
    return draw


@pytest.fixture
def in_two_processes(tmp_path: Path) -> Callable[[str], list[Any]]:
    """Runs a script in two processes that share the work; returns what each left in `rank{rank}.json`.

    The script is given a folder with toy episodes under `shards/`.
    """

    def run(script: str) -> list[Any]:
        (tmp_path / "shards").mkdir()
        for i in range(2):
            write_shard(tmp_path / "shards" / f"episodes-0000{i}.safetensors", draw(30, seed=i))
        (tmp_path / "two.py").write_text(f"{script}\nfrom tml_lab.train.parallel import finish\nfinish()\n")
        assert launch(2, [str(tmp_path / "two.py"), str(tmp_path)]) == 0
        return [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]

    return run
