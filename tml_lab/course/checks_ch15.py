"""Exercises of notebooks/15_from_nano_to_276b.ipynb."""

from __future__ import annotations

import random

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN
from tml_lab.course.exercise import Exercise, Mistake


def _experts(seed: int) -> tuple[int, int, int]:
    """Experts, top_k, tokens: the edges first."""
    rng = random.Random(seed)
    edges = [(8, 3, 5), (10, 2, 1), (8, 8, 3), (256, 6, 17)]
    if seed < len(edges):
        return edges[seed]
    n_experts = rng.randint(2, 300)
    return n_experts, rng.randint(1, min(n_experts, 9)), rng.randint(1, 200)


ch15_experts_touched = Exercise(
    module="tml_lab.model.arithmetic",
    attribute="experts_touched",
    cases=_experts,
    hints=(
        "Take one expert. With which chance does one token not want it?",
        "One token wants it with the chance top_k / n_experts; all tokens miss it with (1 - that) ** tokens.",
        "n_experts * (1 - (1 - top_k / n_experts) ** tokens).",
    ),
    mistakes=(
        Mistake(
            lambda n_experts, top_k, tokens: float(min(n_experts, top_k * tokens)),
            "tokens may want the same expert: it is read once. Take one expert, and ask whether anybody wants it",
        ),
        Mistake(
            lambda n_experts, top_k, tokens: float(top_k * tokens),
            "an expert that two tokens want is read once",
        ),
        Mistake(
            lambda n_experts, top_k, tokens: n_experts * (1 - (1 - 1 / n_experts) ** (top_k * tokens)),
            "one token's top_k experts are different ones: it misses a given expert with 1 - top_k / n_experts",
        ),
    ),
    atol=1e-9,
)


def _turn(seed: int) -> tuple[int, int, int, bool]:
    """Typed words, patches, spoken words, whether it speaks."""
    rng = random.Random(seed)
    edges = [(0, 12, 0, False), (0, 0, 0, True), (3, 0, 2, True), (2, 12, 0, False)]
    if seed < len(edges):
        return edges[seed]
    speaking = rng.random() < 0.6
    return rng.randint(0, 6), rng.choice((0, 12, 20)), rng.randint(0, 2) if speaking else 0, speaking


def _by_hand(typed: int, patches: int, words: int, speaking: bool, left: int, voice: int) -> list[int]:
    return [left + typed + patches + FRAMES_PER_TURN, *([1] * (1 + words + voice) if speaking else [])]


ch15_passes = Exercise(
    module="tml_lab.model.arithmetic",
    attribute="passes",
    cases=_turn,
    hints=(
        "What goes into the first pass? Then: which tokens cannot be known before the one before them?",
        "The first has 1 + typed + patches + FRAMES_PER_TURN tokens; a silent turn is over then.",
        "Speaking: one more pass for the decision, for each word, and for OUT_TOKENS_PER_TURN - 1 voice tokens.",
    ),
    mistakes=(
        Mistake(
            lambda typed, patches, words, speaking: _by_hand(typed, patches, words, speaking, 0, 3),
            "the first pass also takes the token that the turn before left over",
        ),
        Mistake(
            lambda typed, patches, words, speaking: _by_hand(
                typed, patches, words, speaking, 1, OUT_TOKENS_PER_TURN
            ),
            "the last voice token of a turn is fed with the next turn's first pass",
        ),
        Mistake(
            lambda typed, patches, words, speaking: [sum(_by_hand(typed, patches, words, speaking, 1, 3))],
            "a word depends on the word before it: it cannot go in with it; return one number for each pass",
        ),
    ),
)


def _kept(seed: int) -> tuple[int, int, int, int, float]:
    """Positions, slots, key/value heads, d_head, bytes of a number: below, at and beyond the ring's end."""
    rng = random.Random(seed)
    slots = rng.randint(1, 600)
    positions = [0, slots, slots + 1, slots // 2][seed] if seed < 4 else rng.randint(0, 1200)
    return positions, slots, rng.randint(1, 16), rng.choice((32, 64, 128)), rng.choice((1.0, 2.0, 4.0))


ch15_kept_bytes = Exercise(
    module="tml_lab.model.arithmetic",
    attribute="kept_bytes",
    cases=_kept,
    hints=(
        "How many positions are held when the ring is not yet full, and when it is?",
        "min(positions, slots) of them, each with a key and a value of n_kv_heads * d_head numbers.",
        "2 * min(positions, slots) * n_kv_heads * d_head * number.",
    ),
    mistakes=(
        Mistake(
            lambda positions, slots, n_kv_heads, d_head, number: 2 * positions * n_kv_heads * d_head * number,
            "a full ring forgets the oldest: it never holds more than its slots",
        ),
        Mistake(
            lambda positions, slots, n_kv_heads, d_head, number: min(positions, slots) * n_kv_heads * d_head * number,
            "a key and a value are kept for each position",
        ),
        Mistake(
            lambda positions, slots, n_kv_heads, d_head, number: 2 * slots * n_kv_heads * d_head * number,
            "before the ring is full only the positions that were there are held",
        ),
    ),
    atol=1e-6,
)
