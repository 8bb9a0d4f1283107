"""More of CueSpeak: French, German and Italian numbers, colours and days into English, as they are heard.

Windows and strictness as in CueSpeak.
"""

from __future__ import annotations

from dataclasses import replace

from tml_lab.bench import cuespeak
from tml_lab.bench.items import draw, graded
from tml_lab.worlds.families.foreign import FOREIGN
from tml_lab.worlds.stage import Episode


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each language."""
    return draw(tuple(FOREIGN), n, seed, split, graded)


BENCHMARK = replace(
    cuespeak.BENCHMARK, name="foreign", title="CueSpeak, further languages", items=items,
    goals={"strict_simultaneous": ">= 0.95"}, anchors={},
)  # fmt: skip
