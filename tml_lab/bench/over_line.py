"""An episode over a line with faults: chunks come late, twice or not at all, and what is said is played when it comes.

Time is simulated: a turn takes `COST` seconds, so that a run is the same on every machine. The listener's clock is the
world's, and so the emission log is by the turns of the world, whatever the session's own clock shows.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.runner import SEED, turns_of
from tml_lab.config import TURN_SECONDS
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.serve.catch_up import Next
from tml_lab.serve.faults import Arrival, FaultPlan
from tml_lab.stream.session import Session
from tml_lab.worlds.stage import Episode

COST = 0.015  # seconds of a turn
KEPT = 8  # chunks that waited at most, under the rule that let the clock stand still


class Keeper(Protocol):
    """Who decides which turn is run next: `tml_lab.serve.catch_up.CatchUp`, or `StandStill`."""

    def put(self, seq: int, chunk: Arrival, now: float) -> bool: ...
    def next(self, now: float) -> Next[Arrival] | None: ...
    def wake(self, now: float) -> float | None: ...


class StandStill:
    """The rule before: a chunk that comes is heard, and for one that does not the session's clock stands still."""

    def __init__(self) -> None:
        self.turn = 0
        self._waiting: deque[Arrival] = deque(maxlen=KEPT)  # the oldest give way
        self._newest = -1

    def put(self, seq: int, chunk: Arrival, now: float) -> bool:
        """Queue it, unless it was there before."""
        if seq <= self._newest:
            return False
        self._newest = seq
        self._waiting.append(chunk)
        return True

    def next(self, now: float) -> Next[Arrival] | None:
        """The oldest chunk."""
        if not self._waiting:
            return None
        self.turn += 1
        return Next("hear", self.turn - 1, self._waiting.popleft())

    def wake(self, now: float) -> float | None:
        """Never without a chunk."""
        return None


@dataclass
class Listener:
    """Who hears it: a player that plays what comes, one turn after the other, on the world's clock."""

    decisions: list[str]
    words: list[tuple[int, str]] = field(default_factory=list)
    free: int = 0  # the first turn of the world in which nothing plays yet
    unheard: int = 0  # turns spoken and not played

    def hear(self, ready: float, words: tuple[str, ...]) -> None:
        """A turn's speech is there at `ready` seconds; the sound of turn n is played from 0.2 (n + 1) on."""
        turn = max(math.ceil(ready / TURN_SECONDS - 1e-6) - 1, self.free)
        if turn < len(self.decisions):
            self.decisions[turn] = SPEAK
            self.words += [(turn, word) for word in words]
        self.free = turn + 1


@dataclass
class Lived:
    """An episode lived through: what was heard of it, and how many turns of each kind there were."""

    log: Emissions
    turns: dict[str, int]
    unheard: int


def live_through(
    model: InteractionModel, tokenizer: TextTokenizer, item: Episode, plan: FaultPlan, keeper: Keeper
) -> Lived:
    """One episode through `Session.step`, over a line with faults; what is said in a late turn is not played."""
    session = Session(model, tokenizer, seed=SEED)
    inputs = list(turns_of(item))
    typed = deque((TURN_SECONDS * (turn + 1), text) for turn, (_, _, text) in enumerate(inputs) if text)
    arrivals = deque(plan.arrivals(item.n_turns))
    listener = Listener([SILENT] * item.n_turns)
    counts = {"hear": 0, "gap": 0, "skip": 0}
    now, end = 0.0, TURN_SECONDS * (item.n_turns + 1)
    while now < end:
        while arrivals and arrivals[0].at <= now + 1e-9:
            keeper.put(arrivals[0].seq, arrivals.popleft(), now)
        step = keeper.next(now)
        if step is None:
            waits = [arrivals[0].at] if arrivals else []
            wake = keeper.wake(now)
            waits += [now + max(wake, 1e-3)] if wake is not None else []
            now = min(waits, default=end)
            continue
        counts[step.kind] += step.turns
        if step.kind == "skip":
            session.skip(step.turns)
            continue
        audio, frames, _ = inputs[step.chunk.turn] if step.chunk is not None else (None, None, None)
        words = []
        while typed and typed[0][0] <= now + 1e-9:
            words.append(typed.popleft()[1])
        result = session.step(audio, frames, " ".join(words) or None)
        if result.decision == SPEAK and step.late:
            listener.unheard += 1
        elif result.decision == SPEAK:
            listener.hear(now, result.words)
        now += COST
    log = Emissions(item.n_turns, tuple(listener.words), tuple(listener.decisions))
    return Lived(log, counts, listener.unheard)
