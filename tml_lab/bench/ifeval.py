"""Voice IFEval in miniature: instructions on the manner of an answer that can be checked by ear.

Twice, with "over" at the end, with "okay" before it, in one word, in exactly two. An answer counts when the utterance
that begins within three seconds is exactly what was asked for, no word more. After IFEval (Zhou et al. 2023), spoken.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import ANSWER_WINDOW, Estimate, bootstrap, inside, utterances
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import by_family
from tml_lab.worlds.stage import Episode


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes, each with one to four questions."""
    return draw(("manner",), n, seed, split, graded)


def followed(item: Episode, log: Emissions) -> list[float]:
    """For each question, whether it was answered in the manner asked for, to the word."""
    said = [(group[0].start, tuple(word.text for word in group)) for group in utterances(log.spoken())]
    result = []
    for expect in item.expects:
        window = (expect.due, expect.due + ANSWER_WINDOW)
        answers = [words for start, words in said if inside(start, window)]
        result.append(float(answers[:1] == [expect.words]))
    return result


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`followed` per question; `strict` per item."""
    each = [followed(item, log) for item, log in zip(episodes, logs, strict=True)]
    return {
        "followed": bootstrap([value for values in each for value in values], seed),
        "strict": bootstrap(by_family(episodes, [float(all(values)) for values in each]), seed),
    }


def fails(item: Episode, log: Emissions) -> list[str]:
    """`strict`, where an answer was not to the word in the manner asked for."""
    return [] if all(followed(item, log)) else ["strict"]


BENCHMARK = Benchmark(
    name="ifeval",
    title="Voice IFEval",
    items=items,
    measure=measure,
    headline="followed",
    goals={"followed": ">= 0.90"},
    fails=fails,
)
