"""The same benchmarks with the camera on, and nothing to see that matters: somebody stands there and listens.

A turn then has 17 positions in place of 5, so a window of attention reaches back a third as far in seconds. Who keeps
time, or an instruction, by how many positions lie between loses both.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tml_lab.bench import cuespeak, timespeak
from tml_lab.bench.benchmark import Benchmark
from tml_lab.config import VIDEO_FRAMES_PER_TURN
from tml_lab.worlds.seen.scene import Scene
from tml_lab.worlds.stage import Episode


def looked_on(item: Episode) -> Episode:
    """The item with a camera on a person who stands there; another person and place for each seed."""
    scene = Scene(np.random.default_rng(item.seed))
    scene.person("wave")  # stands: nothing is done
    return replace(item, scene=scene.script(item.n_turns * VIDEO_FRAMES_PER_TURN))


def with_camera(benchmark: Benchmark) -> Benchmark:
    """A benchmark of what is heard, on the same items with the camera on."""

    def items(n: int, seed: int, split: str) -> list[Episode]:
        return [looked_on(item) for item in benchmark.items(n, seed, split)]

    name, title = f"{benchmark.name}_camera", f"{benchmark.title}, camera on"
    return replace(benchmark, name=name, title=title, items=items, anchors={})


TIMESPEAK, CUESPEAK = with_camera(timespeak.BENCHMARK), with_camera(cuespeak.BENCHMARK)
