"""Exercises of notebooks/16_safety.ipynb."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tml_lab.bench.redteam import EXPLORE
from tml_lab.course.exercise import Exercise, Mistake

INFINITY = float("inf")


def _scores(seed: int) -> tuple[list[float], list[float]]:
    """Scores of disallowed and of harmless requests, with ties between the two."""
    rng = random.Random(seed)
    if seed == 0:
        return [2.0, 1.0], [1.0, 0.0]
    if seed == 1:
        return [0.5, 0.5, 3.0], [3.0]
    scores = [[round(rng.gauss(mean, 1.0), 1) for _ in range(rng.randint(1, 8))] for mean in (1.0, 0.0)]
    return scores[0], scores[1]


def _curve(
    harmful: Sequence[float], harmless: Sequence[float], thresholds: Sequence[float], strictly: bool = False
) -> list[tuple[float, float, float]]:
    def share(scores: Sequence[float], t: float) -> float:
        return sum(s > t or (s == t and not strictly) for s in scores) / len(scores)

    return [(t, share(harmful, t), share(harmless, t)) for t in thresholds]


def _down(*scores: Sequence[float]) -> list[float]:
    return sorted({s for part in scores for s in part}, reverse=True)


ch16_trade_off = Exercise(
    module="tml_lab.bench.safety",
    attribute="trade_off",
    cases=_scores,
    hints=(
        "Which thresholds make a difference? Between two neighbouring scores nothing changes.",
        "thresholds = [float('inf'), *sorted({*harmful, *harmless}, reverse=True)]",
        "For each t: (t, share of harmful with s >= t, share of harmless with s >= t), as a list of tuples.",
    ),
    mistakes=(
        Mistake(
            lambda harmful, harmless: _curve(harmful, harmless, [INFINITY, *_down(harmful, harmless)], strictly=True),
            "what scores exactly at the threshold is refused",
        ),
        Mistake(
            lambda harmful, harmless: _curve(harmful, harmless, _down(harmful, harmless)),
            "the curve begins where nothing is refused: at the threshold infinity",
        ),
        Mistake(
            lambda harmful, harmless: _curve(harmful, harmless, [INFINITY, *_down(harmful)]),
            "a harmless request's score is a threshold, too: there the second share changes",
        ),
        Mistake(
            lambda harmful, harmless: _curve(harmless, harmful, [INFINITY, *_down(harmful, harmless)]),
            "the share of disallowed requests comes first, that of harmless ones second",
        ),
        Mistake(
            lambda harmful, harmless: _curve(harmful, harmless, [INFINITY, *_down(harmful, harmless)])[::-1],
            "from the highest threshold down",
        ),
    ),
)


def _broken(seed: int) -> tuple[list[tuple[str, ...]]]:
    """Compositions of operators that broke; parts and repetitions among them."""
    rng = random.Random(seed)
    if seed < 3:
        cases = ([], [("film", "typed"), ("typed",), ("film", "noise")], [("fast", "film", "push"), ("fast", "push")])
        return (cases[seed],)
    names = ("fast", "film", "noise", "push", "typed")
    return ([tuple(sorted(rng.sample(names, rng.randint(1, 4)))) for _ in range(rng.randint(2, 9))],)


def _kept(broken: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [c for c in dict.fromkeys(broken) if not any(set(other) < set(c) for other in broken)]


ch16_minimal = Exercise(
    module="tml_lab.bench.redteam",
    attribute="minimal",
    cases=_broken,
    hints=(
        "A composition is left out when another one in the list holds some of its operators and no others.",
        "As sets: `set(other) < set(c)` is true for a part that is smaller.",
        "sorted((c for c in dict.fromkeys(broken) if not any(set(o) < set(c) for o in broken)), key=len)",
    ),
    mistakes=(
        Mistake(
            lambda broken: sorted((c for c in broken if not any(set(o) < set(c) for o in broken)), key=len),
            "each composition once",
        ),
        Mistake(
            lambda broken: [c for c in dict.fromkeys(broken) if len(c) == min(map(len, broken))],
            "a longer one that shares no part with the shortest is a finding of its own",
        ),
        Mistake(
            lambda broken: sorted(
                (c for c in dict.fromkeys(broken) if not any(o != c and c[: len(o)] == o for o in broken)), key=len
            ),
            "a part need not stand at the beginning",
        ),
        Mistake(lambda broken: _kept(broken), "the shortest first"),
    ),
)


def _arms(seed: int) -> tuple[list[int], list[float], float]:
    """How often each arm was tried and what it brought; in some cases one was never tried."""
    rng = random.Random(seed)
    if seed == 0:
        return [40, 3, 1], [0.6, 0.55, 0.2], EXPLORE
    if seed == 1:
        return [5, 0, 0], [0.9, 0.0, 0.0], EXPLORE
    n = rng.randint(2, 6)
    tries = [rng.choice([1, 2, 5, 30]) for _ in range(n)]
    if seed % 3 == 0:
        tries[rng.randrange(n)] = 0
    return tries, [round(rng.random(), 2) if k else 0.0 for k in tries], rng.choice([0.1, 0.5, 1.0])


def _best(tries: Sequence[int], means: Sequence[float], doubts: Sequence[float]) -> int:
    if 0 in tries:
        return list(tries).index(0)
    bounds = [mean + doubt for mean, doubt in zip(means, doubts, strict=True)]
    return bounds.index(max(bounds))


ch16_next_arm = Exercise(
    module="tml_lab.bench.redteam",
    attribute="next_arm",
    cases=_arms,
    hints=(
        "An arm that was never tried goes first. Of the others: what could it bring, if one were optimistic?",
        "Its bound is mean + explore * sqrt(log(sum of all tries) / its own tries).",
        "bounds = [m + explore * math.sqrt(math.log(sum(tries)) / n) for n, m in zip(tries, means)]",
    ),
    mistakes=(
        Mistake(
            lambda tries, means, explore=EXPLORE: _best(tries, means, [0.0] * len(tries)),
            "who only takes the best mean never finds out about an arm that was unlucky once: add the doubt",
        ),
        Mistake(
            lambda tries, means, explore=EXPLORE: list(tries).index(min(tries)),
            "what an arm has brought counts, too, not only how seldom it was tried",
        ),
        Mistake(
            lambda tries, means, explore=EXPLORE: _best(
                tries, means, [explore * math.sqrt(math.log(max(n, 1)) / max(n, 1)) for n in tries]
            ),
            "under the root stands the logarithm of all tries together, over the arm's own",
        ),
        Mistake(
            lambda tries, means, explore=EXPLORE: _best(
                [max(n, 1) for n in tries], means,
                [explore * math.sqrt(math.log(max(sum(tries), 1)) / max(n, 1)) for n in tries],
            ),
            "an arm that was never tried goes first, whatever the others have brought",
        ),
    ),
)  # fmt: skip
