"""Small hand-made episodes: no voices, no engines, only what the rules look at."""

from __future__ import annotations

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.worlds.lexicon import contrast_set
from tml_lab.worlds.stage import Episode, Expect, Say, Segment


def scene(
    family: str,
    turns: int,
    script: list[tuple[int, str]] | None = None,
    expects: list[Expect] | None = None,
    segments: list[Segment] | None = None,
    typed: list[tuple[int, str]] | None = None,
    lasts: int = 2,
    seed: int = 0,
) -> Episode:
    """An episode of faint noise; each word of the script sounds for `lasts` turns."""
    rng = np.random.default_rng(seed)
    says = [Say(turn, word) for turn, word in script or []]
    speaking = {say.turn + k: (say.word, k) for say in says for k in range(lasts) if say.turn + k < turns}
    audio = (0.01 * rng.standard_normal(turns * TURN_SAMPLES)).astype(np.float32)
    return Episode(family, audio, typed or [], says, speaking, expects or [], segments or [], seed, "test")


def cue(word: str, due: float) -> Expect:
    return Expect((word,), due, None, contrast_set(word), "cue")


def answer(word: str, due: float) -> Expect:
    return Expect((word,), due, None, contrast_set(word), "answer")


def timed(word: str, due: float, interval: float) -> Expect:
    return Expect((word,), due, interval, contrast_set("five"), "time")


def user(start: float, end: float, text: str = "some words") -> Segment:
    return Segment(start, end, text, "user")
