"""QIVD in miniature: spoken questions about what is in view, or was.

A question is right when its answer, and no other of its closed answers, is said within three seconds of its end.
After "Can Vision-Language Models Answer Face to Face Questions in the Real-World?" (Pourreza et al. 2025).
"""

from __future__ import annotations

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import measure_right
from tml_lab.worlds.stage import Episode

FAMILIES = ("look", "before")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


BENCHMARK = Benchmark(
    name="qivd",
    title="QIVD (questions about what is seen)",
    items=items,
    measure=measure_right,
    headline="right",
    goals={"right": ">= 0.90"},
    anchors={"TML-Interaction-Small": "54.0"},
)
