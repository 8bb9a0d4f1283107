"""Echo: the model's own voice comes out of a loudspeaker, through a room, back into its microphone. Does it answer?

Closed loop, turn by turn: what it says is heard again 100 to 300 ms later, by 20, 10 or 6 dB weaker, with the tail of a
random room. Each item beside itself without echo. A browser's echo canceller is on by default; this is what happens
where it fails or is off.

    tml bench echo --items 12
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap, grade_item, utterances, window
from tml_lab.bench.items import draw
from tml_lab.bench.runner import SEED, turns_of
from tml_lab.bench.scoring import by_family
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.session import Session
from tml_lab.worlds.spoiled import Room
from tml_lab.worlds.stage import Episode

FAMILIES = ("recite", "tick", "repeat_numbers", "arithmetic", "colour")  # recitation, counting on, answers
LEVELS = (-20.0, -10.0, -6.0)  # decibels
REST = 6.0  # seconds of quiet after each item: whoever answers himself has time to
SOON = 3.0  # seconds after its own words in which an utterance is an answer to them


def items(n: int, seed: int, split: str) -> list[Episode]:
    """`n` episodes of each family, each with some seconds of quiet behind it."""
    return draw(FAMILIES, n, seed, split, with_rest)


def with_rest(item: Episode) -> Episode:
    """The item, and then the room's own quiet: its least loud turn, over and over."""
    turns = item.audio.reshape(-1, TURN_SAMPLES)
    quiet = turns[np.square(turns).mean(1).argmin()]
    return replace(item, audio=np.concatenate([item.audio, np.tile(quiet, round(REST / TURN_SECONDS))]))


class EchoPlayer:
    """The model beside its loudspeaker; `level` in decibels, None: headphones."""

    def __init__(self, model: InteractionModel, tokenizer: TextTokenizer, level: float | None) -> None:
        self.model, self.tokenizer, self.level = model, tokenizer, level
        self.name = "no echo" if level is None else f"echo at {level:.0f} dB"

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        """One log per episode."""
        return [self._play(item) for item in episodes]

    def _play(self, item: Episode) -> Emissions:
        session = Session(self.model, self.tokenizer, seed=SEED)
        room = Room(np.random.default_rng([7, item.seed]), self.level) if self.level is not None else None
        words: list[tuple[int, str]] = []
        decisions, p_speak = [], []
        for turn, (audio, frames, text) in enumerate(turns_of(item)):
            heard = audio if room is None else np.clip(audio + room.heard(), -1, 1).astype(np.float32)
            result = session.step(heard, frames, text)
            if room is not None:
                room.played(result.audio)  # sounds while the next turn is heard
            words += [(turn, word) for word in result.words]
            decisions.append(result.decision)
            p_speak.append(result.p_speak)
        return Emissions(len(decisions), tuple(words), tuple(decisions), tuple(p_speak))


def self_answers(item: Episode, log: Emissions) -> tuple[int, int]:
    """`(false starts, those of them that follow its own words within SOON)`: utterances begun where nothing was due."""
    said = utterances(log.spoken())
    spans = [window(expect) for expect in item.expects]
    false = [
        at for at, words in enumerate(said) if not any(low - 1e-6 <= words[0].start <= high for low, high in spans)
    ]
    ends = [max(word.end for word in words) for words in said]
    return len(false), sum(at > 0 and said[at][0].start - ends[at - 1] <= SOON for at in false)


def per_minute(count: int, log: Emissions) -> float:
    """A count over an episode as a rate."""
    return 60.0 * count / (TURN_SECONDS * log.turns)


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """Per minute: false starts, answers to itself, words; and `met`, the share of what was due that was said."""
    pairs = list(zip(episodes, logs, strict=True))
    counts = [self_answers(item, log) for item, log in pairs]
    starts = by_family(episodes, [per_minute(n, log) for (n, _), log in zip(counts, logs, strict=True)])
    answers = by_family(episodes, [per_minute(n, log) for (_, n), log in zip(counts, logs, strict=True)])
    words = by_family(episodes, [per_minute(len(log.words), log) for log in logs])
    met = by_family(episodes, [grade_item(item.expects, log.spoken()).met for item, log in pairs])
    result = {
        "false_starts_per_minute": bootstrap(starts, seed),
        "self_answers_per_minute": bootstrap(answers, seed),
        "words_per_minute": bootstrap(words, seed),
        "met": bootstrap(met, seed),
    }
    return result | {f"self_answers:{family}": bootstrap(values, seed) for family, values in answers.items()}


def beside_itself(
    episodes: Sequence[Episode], logs: Sequence[Emissions], first: Sequence[Emissions], seed: int
) -> dict[str, Estimate]:
    """What the echo changed of each item, paired: answers to itself per minute, and `met`."""
    answers, met = [], []
    for item, log, whole in zip(episodes, logs, first, strict=True):
        more = self_answers(item, log)[1] - self_answers(item, whole)[1]
        answers.append(per_minute(more, log))
        one, other = (grade_item(item.expects, some.spoken()).met for some in (log, whole))
        met.append(one - other)
    return {"self_answers_change": bootstrap(answers, seed), "met_change": bootstrap(met, seed)}


def fails(item: Episode, log: Emissions) -> list[str]:
    """`self_answers_per_minute` or `false_starts_per_minute`, where there is one; `met`, where something was missed."""
    starts, answers = self_answers(item, log)
    wrong = {
        "self_answers_per_minute": answers > 0,
        "false_starts_per_minute": starts > 0,
        "met": grade_item(item.expects, log.spoken()).met < 1.0,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def players(model: InteractionModel, tokenizer: TextTokenizer) -> list[EchoPlayer]:
    """Without echo, and at each level."""
    return [EchoPlayer(model, tokenizer, level) for level in (None, *LEVELS)]


BENCHMARK = Benchmark(
    name="echo",
    title="Its own voice in the microphone",
    items=items,
    measure=measure,
    headline="self_answers_per_minute",
    rows=players,
    paired=beside_itself,
    fails=fails,
)
