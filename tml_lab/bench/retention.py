"""Audio MultiChallenge in miniature: what was said up to a minute ago, slips that were corrected, mistakes pointed out.

Families: facts and the questions about them; statements of which the wrong ones are corrected as they are heard.
`right` per question or mistake; `strict` per item: nothing said at what is right. After Audio MultiChallenge (2025).
"""

from __future__ import annotations

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import measure_right
from tml_lab.worlds.stage import Episode

FAMILIES = ("facts", "wrong")


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


BENCHMARK = Benchmark(
    name="retention",
    title="Retention and self-correction",
    items=items,
    measure=measure_right,
    headline="right",
    goals={"right": ">= 0.90"},
    anchors={"TML-Interaction-Small": "43.4"},
    full=220,  # in every seventh scene of `wrong` nothing is, and `right` does not stand on it
)
