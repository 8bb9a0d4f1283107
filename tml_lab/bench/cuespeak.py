"""CueSpeak: react to each cued word while the user goes on talking.

Families: repeat a number, the number after it, the opposite of a word, Spanish to English and back.
Window `[cue end, cue end + 1.5 s]`; strict; macro over families. Where the user's talk runs on past a
cue, the answer must besides begin before the user stops: `strict_simultaneous`, the headline; `strict` is
without that. After the CueSpeak of Thinking Machines' interaction-model post (May 2026), in miniature.
"""

from __future__ import annotations

from collections.abc import Sequence

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, Hit, ItemGrade, bootstrap, grade_item
from tml_lab.bench.items import draw, graded
from tml_lab.bench.scoring import by_family, delays, grade_all
from tml_lab.worlds.stage import Episode

FAMILIES = ("repeat_numbers", "next_number", "opposite", "to_english", "to_spanish")
RUNS_ON = 0.3  # seconds: a user who says the next word sooner than this has gone on talking


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family."""
    return draw(FAMILIES, n, seed, split, graded)


def user_stops(item: Episode, cue_end: float) -> float:
    """When the talk that runs on from a cue ends (seconds); the cue's own end where the user paused after
    it."""
    end = cue_end
    for segment in item.segments:  # in order of their start
        if segment.role == "user" and end < segment.end and end - 1e-6 <= segment.start <= end + RUNS_ON:
            end = segment.end
    return end


def overlaps(item: Episode, hit: Hit) -> bool | None:
    """Was the answer begun before the user stopped? None where the user had paused after the cue."""
    stop = user_stops(item, hit.due)
    if stop <= hit.due:
        return None
    return hit.onset is not None and hit.onset <= stop


def _overlapping(item: Episode, grade: ItemGrade) -> list[bool]:
    return [verdict for hit in grade.hits if (verdict := overlaps(item, hit)) is not None]


def simultaneous(item: Episode, grade: ItemGrade) -> bool:
    """Strict, and every answer to a cue inside running talk begun before the user stopped."""
    return grade.strict and all(_overlapping(item, grade))


def fails(item: Episode, log: Emissions) -> list[str]:
    """`strict_simultaneous` and `strict`, each where the item is wrong by it."""
    grade = grade_item(item.expects, log.spoken())
    wrong = {"strict_simultaneous": not simultaneous(item, grade), "strict": not grade.strict}
    return [name for name, is_wrong in wrong.items() if is_wrong]


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`strict_simultaneous` per item (a scene of several cues), `strict` without simultaneity, each family's;
    per cue; the median delay."""
    grades = grade_all(episodes, logs)
    pairs = list(zip(episodes, grades, strict=True))
    strict = by_family(episodes, [float(grade.strict) for grade in grades])
    cues: dict[str, list[float]] = {}
    for item, grade in pairs:
        cues.setdefault(item.family, []).extend(float(hit.onset is not None) for hit in grade.hits)
    meanwhile = by_family(episodes, [float(simultaneous(item, grade)) for item, grade in pairs])
    result = {
        "strict": bootstrap(strict, seed),
        "per_cue": bootstrap(cues, seed),
        "strict_simultaneous": bootstrap(meanwhile, seed),
        "overlap": bootstrap([float(v) for item, grade in pairs for v in _overlapping(item, grade)], seed),
        "delay_median_s": bootstrap(delays(grades), seed, statistic="median"),
        "strays_per_item": bootstrap([float(len(grade.strays)) for grade in grades], seed),
    }
    result |= {f"strict_simultaneous:{family}": bootstrap(values, seed) for family, values in meanwhile.items()}
    return result | {f"strict:{family}": bootstrap(values, seed) for family, values in strict.items()}


BENCHMARK = Benchmark(
    name="cuespeak",
    title="CueSpeak",
    items=items,
    measure=measure,
    headline="strict_simultaneous",
    goals={"strict_simultaneous": ">= 0.90"},
    anchors={"TML-Interaction-Small": "81.7", "GPT-realtime-2.0": "2.9"},
    fails=fails,
)
