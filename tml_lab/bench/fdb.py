"""Full-Duplex-Bench v1 in miniature: pause handling, smooth turn taking, user interruption, backchannel.

Rules after Lin et al. 2025 (arXiv 2503.04721) and its published scripts, written anew. A *takeover* by
its rule is speech of 1 s or more from first to last word, or of more than three words; shorter speech
counts as a backchannel. Whether what was said is right is another figure, `answered`. Latency is the first
word's start minus the end of the user's turn, over takeovers; like there, a start before the end counts as 0, and
words said before it make a takeover as well. How often that was so is told by `early`, beside both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tml_lab.bench.benchmark import FULL_SIZE, Benchmark
from tml_lab.bench.emissions import Emissions, Word
from tml_lab.bench.grading import (
    CUE_WINDOW,
    Estimate,
    Expected,
    bootstrap,
    grade_item,
    inside,
    utterances,
)
from tml_lab.bench.items import cut, draw
from tml_lab.config import TURN_SECONDS
from tml_lab.model.text import SPEAK
from tml_lab.worlds.stage import Episode

TAKEOVER_SECONDS, TAKEOVER_WORDS = 1.0, 3
SMOOTH_FAMILIES = ("arithmetic", "colour", "opposite_of", "day", "name", "recite")
ROOM = 3.0  # seconds after a turn's end in which the answer may begin; the item ends with them
RECITAL_ROOM = 10.0  # the same for a list: room to say it
STOP_WITHIN = 1.0  # seconds after an interruption's end by which the model must be silent


def takeover(words: Sequence[Word]) -> bool:
    """FDB's rule: no words, or less than 1 s and at most three words, is no takeover."""
    if not words:
        return False
    lasted = max(word.end for word in words) - min(word.start for word in words)
    return lasted >= TAKEOVER_SECONDS - 1e-6 or len(words) > TAKEOVER_WORDS


def answered(expect: Expected, words: Sequence[Word]) -> bool:
    """Was the right answer given after the turn's end, and no other from its contrast set beside it?"""
    return grade_item([expect], [word for word in words if word.start >= expect.due - 1e-6]).strict


def latency(words: Sequence[Word], turn_end: float) -> float:
    """Seconds from the end of the user's turn to the first word; 0 when it came earlier."""
    return max(0.0, min(word.start for word in words) - turn_end)


# ----------------------------------------------------------------------------------------- pause handling


def pause_item(drawn: Episode) -> Episode | None:
    """The first question, up to its end, if it holds a pause of 0.4 s or more; whatever is said in it is
    too early."""
    user = [segment for segment in drawn.segments if segment.role == "user"]
    if not drawn.expects or len(user) < 2:
        return None
    due = drawn.expects[0].due
    first = [segment for segment in user if segment.end <= due + 1e-6]
    pauses = [b.start - a.end for a, b in pairwise(first)]
    return cut(drawn, int(due / TURN_SECONDS)) if pauses and max(pauses) >= 0.4 else None


def measure_pause(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`takeover` counts any word at all before the turn is over; `takeover_fdb` is the published, milder
    rule."""
    said = [log.spoken() for log in logs]
    return {
        "takeover": bootstrap([float(bool(words)) for words in said], seed),
        "takeover_fdb": bootstrap([float(takeover(words)) for words in said], seed),
    }


# -------------------------------------------------------------------------------------- smooth turn taking


def smooth_item(drawn: Episode) -> Episode | None:
    """One spoken question and room to answer it, up to what the user says next."""
    if not drawn.expects:
        return None
    expect = drawn.expects[0]
    spoken = any(abs(segment.end - expect.due) < 1e-6 for segment in drawn.segments if segment.role == "user")
    if not spoken:
        return None
    if drawn.family == "recite":  # the user's murmurs meanwhile are no new turn
        end = expect.due + RECITAL_ROOM
    else:
        later = [s.start for s in drawn.segments if s.start > expect.due and s.role == "user"]
        end = min([expect.due + ROOM, *later])
    item = cut(drawn, int(end / TURN_SECONDS))
    item.expects = [e for e in item.expects if e is expect]
    return item


def measure_smooth(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """Takeover rate, latency over takeovers (median and mean), right answers, and starts before the
    turn's end."""
    taken: list[float] = []
    right: list[float] = []
    early: list[float] = []
    latencies: list[float] = []
    for item, log in zip(episodes, logs, strict=True):
        expect, words = item.expects[0], log.spoken()
        taken.append(float(takeover(words)))
        right.append(float(answered(expect, words)))
        early.append(float(any(word.start < expect.due - 1e-6 for word in words)))
        if taken[-1]:
            latencies.append(latency(words, expect.due))
    return {
        "takeover": bootstrap(taken, seed),
        "latency_median_s": bootstrap(latencies, seed, statistic="median"),
        "latency_mean_s": bootstrap(latencies, seed),
        "answered": bootstrap(right, seed),
        "early": bootstrap(early, seed),
    }


# --------------------------------------------------------------------------------------- user interruption


def interruption_item(drawn: Episode) -> Episode | None:
    """A recital that a spoken question breaks into, up to 3 s after the question; other episodes are no
    item."""
    if len(drawn.expects) != 1:
        return None
    due = drawn.expects[0].due
    question = [s for s in drawn.segments if s.role == "user" and abs(s.end - due) < 1e-6]
    floor = (
        [turn for turn in drawn.speaking if (turn + 1) * TURN_SECONDS < question[0].start] if question else []
    )
    # the question must come while the list is being said, and not after it
    if not floor or question[0].start - (max(floor) + 2) * TURN_SECONDS > 0.25:
        return None
    return cut(drawn, int((due + ROOM) / TURN_SECONDS))


def silent_from(log: Emissions, seconds: float) -> float:
    """When, from `seconds` on, the speaker first falls silent (played clock)."""
    turn = max(0, int(seconds / TURN_SECONDS + 1e-6) - 1)
    while turn < log.turns and log.decisions[turn] == SPEAK:
        turn += 1
    return max(seconds, (turn + 1) * TURN_SECONDS)


def measure_interruption(
    episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int
) -> dict[str, Estimate]:
    """Takeover and right answers after the interruption, their latency, and how soon the model gave way.

    `had_floor` says how often it was speaking when the user broke in; only then is there something to stop.
    """
    taken: list[float] = []
    right: list[float] = []
    floor: list[float] = []
    latencies: list[float] = []
    stops: list[float] = []
    for item, log in zip(episodes, logs, strict=True):
        expect = item.expects[0]
        began = next(s.start for s in item.segments if abs(s.end - expect.due) < 1e-6)
        after = [word for word in log.spoken() if word.start >= expect.due - 1e-6]
        taken.append(float(takeover(after)))
        right.append(float(answered(expect, after)))
        speaking = any(word.start <= began <= word.end + TURN_SECONDS for word in log.spoken())
        floor.append(float(speaking))
        if taken[-1]:
            latencies.append(latency(after, expect.due))
        if speaking:
            stops.append(silent_from(log, began) - began)
    return {
        "answered": bootstrap(right, seed),
        "takeover": bootstrap(taken, seed),
        "latency_median_s": bootstrap(latencies, seed, statistic="median"),
        "stop_latency_median_s": bootstrap(stops, seed, statistic="median"),
        "had_floor": bootstrap(floor, seed),
    }


# ------------------------------------------------------------------------------------------- backchannel


def backchannel_f1(item: Episode, words: Sequence[Word]) -> tuple[int, int, int]:
    """`(hits, events, opportunities)`: an event is a short utterance; a hit begins within 1.5 s of a
    pause."""
    events = [group for group in utterances(words) if not takeover(group)]
    windows = [(e.due, e.due + CUE_WINDOW) for e in item.expects if e.kind == "backchannel"]
    free = list(windows)
    hits = 0
    for group in events:
        match = next((span for span in free if inside(group[0].start, span)), None)
        if match is not None:
            free.remove(match)
            hits += 1
    return hits, len(events), len(windows)


def measure_backchannel(
    episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int
) -> dict[str, Estimate]:
    """Takeover rate (should be low), events per second, and the events' F1 against the opportunity
    windows."""
    taken: list[float] = []
    rates: list[float] = []
    scores: list[float] = []
    for item, log in zip(episodes, logs, strict=True):
        words = log.spoken()
        hits, events, chances = backchannel_f1(item, words)
        taken.append(float(any(takeover(group) for group in utterances(words))))
        rates.append(events / (log.turns * TURN_SECONDS))
        scores.append(2 * hits / (events + chances) if events + chances else 1.0)
    return {
        "takeover": bootstrap(taken, seed),
        "events_per_s": bootstrap(rates, seed),
        "event_f1": bootstrap(scores, seed),
    }


# ---------------------------------------------------------------------- by which figures one item is wrong


def pause_fails(item: Episode, log: Emissions) -> list[str]:
    """`takeover`, where there was any word."""
    return ["takeover"] if log.words else []


def smooth_fails(item: Episode, log: Emissions) -> list[str]:
    """`takeover`, where the turn was not taken; `answered`, where not rightly; `early`, where before its end."""
    expect, words = item.expects[0], log.spoken()
    wrong = {
        "takeover": not takeover(words),
        "answered": not answered(expect, words),
        "early": any(word.start < expect.due - 1e-6 for word in words),
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def interruption_fails(item: Episode, log: Emissions) -> list[str]:
    """`answered`, where the interruption was not rightly answered; `takeover`, where the turn was not taken."""
    expect = item.expects[0]
    after = [word for word in log.spoken() if word.start >= expect.due - 1e-6]
    wrong = {"answered": not answered(expect, after), "takeover": not takeover(after)}
    return [name for name, is_wrong in wrong.items() if is_wrong]


def backchannel_fails(item: Episode, log: Emissions) -> list[str]:
    """`takeover`, where it talked instead; `event_f1`, where a pause had no backchannel, or another place had one."""
    words = log.spoken()
    hits, events, chances = backchannel_f1(item, words)
    wrong = {"takeover": any(map(takeover, utterances(words))), "event_f1": not hits == events == chances}
    return [name for name, is_wrong in wrong.items() if is_wrong]


_FDB = {"Moshi": ".985 / .980", "PersonaPlex": ".584 / .662", "Gemini 3.1 Live": ".022 / .153"}
_TURN = {"Moshi": ".941, .265 s", "PersonaPlex": ".992, .070 s", "Gemini 3.1 Live": "1.0, .567 s"}
_PEOPLE = {"people (CANDOR)": "about .28 backchannels per second of talk"}

PAUSE = Benchmark(
    "fdb_pause", "Full-Duplex-Bench v1: pause handling",
    lambda n, seed, split: draw(("pause",), n, seed, split, pause_item),
    measure_pause, "takeover", {"takeover": "<= 0.10"}, _FDB, fails=pause_fails,
)  # fmt: skip
SMOOTH_TURN = Benchmark(
    "fdb_smooth_turn", "Full-Duplex-Bench v1: smooth turn taking",
    lambda n, seed, split: draw(SMOOTH_FAMILIES, -(-n // 2), seed, split, smooth_item),
    measure_smooth, "takeover", {"takeover": ">= 0.95", "latency_median_s": "<= 0.60", "early": "<= 0.10"},
    _TURN | {"TML-Interaction-Small": "0.40 s"}, fails=smooth_fails, full=2 * -(-FULL_SIZE // len(SMOOTH_FAMILIES)),
)  # fmt: skip
INTERRUPTION = Benchmark(
    "fdb_interruption", "Full-Duplex-Bench v1: user interruption",
    lambda n, seed, split: draw(("interrupt",), n, seed, split, interruption_item),
    measure_interruption, "answered", {"answered": ">= 0.90"}, fails=interruption_fails,
)  # fmt: skip
BACKCHANNEL = Benchmark(
    "fdb_backchannel", "Full-Duplex-Bench v1: backchannel",
    lambda n, seed, split: draw(("story",), n, seed, split),
    measure_backchannel, "event_f1", {}, _PEOPLE, fails=backchannel_fails,
)  # fmt: skip
