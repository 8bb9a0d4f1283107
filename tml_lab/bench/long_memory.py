"""What is left of a conversation 1, 5, 15 and 60 minutes later, by what a session remembers by.

The policies are those of `tml_lab.stream.policy`.

Families: `name` (told, and asked for), `standing` (an instruction, and three words it applies to), `remind` (a reminder
of some seconds, asked for so late: does a long past disturb the sense of time?). In between there is silence, talk in
the background, the user's own small talk, or the noise of a quiet room, item by item in turn. One session lives through
it all: at each distance a fork of it is asked, and the session goes on. A clean line: what is measured is memory, not
hearing.

The reference rows live through the same scenes without the minutes in between, which change nothing for who says
nothing, everything, or the answer itself; for the harness it is the best that it could do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap
from tml_lab.bench.items import SEEDS_PER_RUN, bank_of
from tml_lab.bench.runner import SEED, turns_of
from tml_lab.bench.scoring import measure_right
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS
from tml_lab.stream.clock import TURNS_PER_SECOND
from tml_lab.stream.policy import Policy
from tml_lab.worlds.families.cues import CUES, fragment, one_cue
from tml_lab.worlds.lexicon import FILLER_SENTENCES, LEAD_NAME, NAMES, NUMBERS
from tml_lab.worlds.remembered import POLICIES
from tml_lab.worlds.stage import SETTLED, Episode, Stage, open_stage
from tml_lab.worlds.voices import VoiceBank

if TYPE_CHECKING:
    from tml_lab.stream.session import Session

MINUTES = (1, 5, 15, 60)
FAMILIES = ("name", "standing", "remind")
STANDING = ("next_number", "to_spanish", "repeat_numbers")
FILLS = ("silence", "background", "small talk", "room")
ROOM = 0.003  # root mean square of a quiet room's noise: -50 dB of full scale
LOOP = 60 * TURNS_PER_SECOND  # turns of talk that are rendered; then they come again


@dataclass
class LongEpisode(Episode):
    """What was said at first and, after `told` turns, what is asked: the minutes between them are not in its sound.

    Args:
        told: turns of the first part.
        wait: turns that pass before the second.
        fill: what is heard meanwhile, f32 [LOOP * 3200], again and again; None: silence.
    """

    told: int = 0
    wait: int = 0
    fill: np.ndarray | None = None


@dataclass(frozen=True)
class LongEmissions(Emissions):
    """As of the episode's own two parts; `unasked`: how often the model began to speak in between."""

    unasked: int = field(default=0, compare=False)


def items(n: int, seed: int, split: str, minutes: Sequence[float] = MINUTES, fills: Sequence[str] = FILLS) -> list[Any]:
    """`n` sessions of each family, each asked at every distance: the family `name@5` is asked after five minutes."""
    found: list[LongEpisode] = []
    for index in range(n):
        for family in FAMILIES:
            fill = fills[index % len(fills)]
            found += asked_at(family, seed * SEEDS_PER_RUN + index, bank_of(split), minutes, fill)
    return found


def asked_at(family: str, seed: int, bank: VoiceBank, minutes: Sequence[float], fill: str) -> Iterator[LongEpisode]:
    """One session's items: what is told, asked for at each distance. `name` and `remind` of a seed are one session."""
    first = open_stage(bank, np.random.default_rng([seed, family == "standing"]), bank.split)
    first.typing, first.now = 0.5, 0.4
    told = _tell(first, family == "standing")
    second = _later(first, FAMILIES.index(family) + 2)
    _ask(second, family, told)
    before, after = first.finish(family, seed, noisy=False), second.finish(family, seed, 2.5, noisy=False)
    shift = before.n_turns
    whole = LongEpisode(
        family, np.concatenate([before.audio, after.audio]), [*before.typed, *((t + shift, x) for t, x in after.typed)],
        [replace(say, turn=say.turn + shift) for say in after.script],
        {turn + shift: what for turn, what in after.speaking.items()},
        [replace(expect, due=expect.due + shift * TURN_SECONDS) for expect in after.expects],
        [*before.segments, *(replace(s, start=s.start + shift / 5, end=s.end + shift / 5) for s in after.segments)],
        seed, bank.split, told=shift, fill=None if fill == "silence" else _fill(_later(first, 1), fill),
    )  # fmt: skip
    for minute in minutes:
        yield replace(whole, family=f"{family}@{minute}", wait=int(minute * 60 * TURNS_PER_SECOND))


def _later(stage: Stage, what: int) -> Stage:
    """An empty stage with the same user, and chance of its own."""
    rng = np.random.default_rng([what, *stage.rng.bit_generator.seed_seq.entropy])  # pyright: ignore
    return replace(stage, rng=rng, typing=0.0, now=0.4, sounds=[], typed=[], speaking={}, expects=[], segments=[])


def _tell(stage: Stage, standing: bool) -> str:
    """An instruction or a name is given: which."""
    told = str(stage.pick(STANDING if standing else NAMES))
    stage.ask(told) if standing else stage.ask("my_name_is", x=told)
    return told


def _ask(stage: Stage, family: str, told: str) -> None:
    """What shows whether it is still known."""
    if family == "standing":
        for _ in range(3):
            one_cue(stage, CUES[told], stage.user, answered=True)
            stage.wait(1.0, 1.5)
    elif family == "name":
        others = tuple(name for name in NAMES if name != told)
        end = stage.ask("what_name")
        stage.reply((told,), end, "answer", margin=SETTLED, contrast=others, lead=LEAD_NAME)
    else:
        seconds = int(stage.rng.integers(3, 11))
        due = stage.ask("remind", n=NUMBERS[seconds]) + seconds
        contrast = ("tick", *NUMBERS[:11])
        stage.reply(("reminder",), due, "time", asked=float(seconds), contrast=contrast, on_time=True)


def _fill(talk: Stage, kind: str) -> np.ndarray:
    """A minute of what goes on meanwhile: f32 [LOOP * 3200]."""
    if kind == "room":
        return (ROOM * talk.rng.standard_normal(LOOP * TURN_SAMPLES)).astype(np.float32)
    other = talk.bank.choose(talk.rng, kind="synthetic")
    while talk.now < LOOP / TURNS_PER_SECOND - 6:
        if kind == "background":
            talk.now = talk.elsewhere(talk.pick(FILLER_SENTENCES), talk.now, other).end
        else:
            talk.say(talk.pick(FILLER_SENTENCES) if talk.chance(0.6) else fragment(talk))
        talk.wait(1.0, 5.0)
    audio = talk.finish(kind, 0, noisy=False).audio[: LOOP * TURN_SAMPLES]
    return np.pad(audio, (0, LOOP * TURN_SAMPLES - len(audio)))


class PolicyPlayer:
    """The model in sessions that remember by one policy."""

    def __init__(self, model: Any, tokenizer: Any, policy: Policy, name: str = "") -> None:
        self.model, self.tokenizer, self.policy = model, tokenizer, policy
        self.name = name or policy.name

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        from tml_lab.stream.session import Session

        groups: dict[tuple[int, bool], list[int]] = {}
        for i, item in enumerate(episodes):
            groups.setdefault((item.seed, item.family.startswith("standing")), []).append(i)
        logs: dict[int, Emissions] = {}
        for members in groups.values():
            session = Session(self.model, self.tokenizer, seed=SEED, policy=self.policy)
            members.sort(key=lambda i: _long(episodes[i]).wait)
            logs |= self._live(session, {i: _long(episodes[i]) for i in members})
        return [logs[i] for i in range(len(episodes))]

    def _live(self, session: Session, items: dict[int, LongEpisode]) -> dict[int, Emissions]:
        """One session through what is told and all that follows; a fork of it is asked at each distance."""
        first = next(iter(items.values()))
        before = _Log()
        for heard in islice(turns_of(first), first.told):
            before.take(session.step(*heard))
        between, logs = _Log(), {}
        silence = np.zeros(TURN_SAMPLES, np.float32)
        for i, item in items.items():
            while session.turn < item.told + item.wait:
                at = (session.turn - item.told) % LOOP * TURN_SAMPLES
                between.take(session.step(silence if item.fill is None else item.fill[at : at + TURN_SAMPLES]))
            log = before.copy()
            fork = session.fork()
            for heard in islice(turns_of(item), item.told, None):
                log.take(fork.step(*heard))
            logs[i] = log.done(between.began)
        return logs


class _Log:
    """Emissions as they come, of the turns that count."""

    def __init__(self) -> None:
        self.words: list[tuple[int, str]] = []
        self.decisions: list[str] = []
        self.p_speak: list[float] = []
        self.began = 0  # how often speech began

    def take(self, result: Any) -> None:
        """One turn."""
        self.began += result.decision == "<speak>" and (not self.decisions or self.decisions[-1] != "<speak>")
        self.words += [(len(self.decisions), word) for word in result.words]
        self.decisions.append(result.decision)
        self.p_speak.append(result.p_speak)

    def copy(self) -> _Log:
        """An independent log."""
        twin = _Log()
        twin.words, twin.decisions, twin.p_speak = list(self.words), list(self.decisions), list(self.p_speak)
        return twin

    def done(self, unasked: int) -> LongEmissions:
        """The log, with how often speech began in the minutes that are left out."""
        return LongEmissions(
            len(self.decisions), tuple(self.words), tuple(self.decisions), tuple(self.p_speak), unasked=unasked
        )


def _long(item: Episode) -> LongEpisode:
    if not isinstance(item, LongEpisode):
        raise TypeError(f"{item.family} is no item of this benchmark: it says nothing of how long to wait.")
    return item


def measure(episodes: Sequence[Episode], logs: Sequence[Emissions], seed: int) -> dict[str, Estimate]:
    """`right` of what was asked, in all and by family and distance; `unasked`: starts to speak in a minute between."""
    found = measure_right(episodes, logs, seed)
    last = max(_long(item).wait for item in episodes)
    starts = [
        log.unasked / (_long(item).wait / TURNS_PER_SECOND / 60)
        for item, log in zip(episodes, logs, strict=True)
        if isinstance(log, LongEmissions) and _long(item).wait == last and not item.family.startswith("remind")
    ]
    return found | {"unasked": bootstrap(starts, seed)}


def policies(model: Any, tokenizer: Any) -> list[PolicyPlayer]:
    """Those that are compared."""
    return [PolicyPlayer(model, tokenizer, policy(), name) for name, policy in POLICIES.items()]


LONG = Benchmark(
    name="long",
    title="Long sessions: 1 to 60 minutes later",
    items=items,
    measure=measure,
    headline="right",
    rows=policies,
)
QUICK = replace(
    LONG,
    name="long_quick",
    title="Long sessions: 1 and 5 minutes of silence, or of a quiet room, later",
    items=partial(items, minutes=MINUTES[:2], fills=("silence", "room")),
)
