"""A toy world for training tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tml_lab.train.shards import Rendered
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
