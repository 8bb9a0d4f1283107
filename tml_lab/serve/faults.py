"""Faults of a line as data: what befalls a stream of chunks, drawn from a seed, the same in every run.

    plan = FaultPlan(seed=3, faults=(Loss(share=0.05), Stall(at=4.0, seconds=3.0)))
    for arrival in plan.arrivals(n):         # in the order in which they arrive
        arrival.at, arrival.seq, arrival.turn
    FaultPlan.model_validate_json(plan.model_dump_json()) == plan

Nothing here waits: an arrival says when, and whoever plays the plan keeps the clock. `fault_proxy.py` plays one on the
bytes of a connection.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tml_lab.config import TURN_SECONDS

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Delay(_Fault):
    """A share of the chunks comes later than it should, by `low..high` seconds.

    `in_order`: those behind it wait, as on one connection (TCP); else they overtake it.
    """

    kind: Literal["delay"] = "delay"
    share: Share
    low: Seconds = 0.2
    high: Seconds = 0.8
    in_order: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> Delay:
        if self.low > self.high:
            raise ValueError(f"a delay of {self.low} to {self.high} s: low must not be above high.")
        return self


class Loss(_Fault):
    """A share of the chunks never comes, in runs of `run` chunks on average. They are counted: a number is left out."""

    kind: Literal["loss"] = "loss"
    share: Annotated[float, Field(ge=0.0, lt=1.0)]
    run: Annotated[float, Field(ge=1.0)] = 1.0


class Double(_Fault):
    """A share of the chunks comes a second time, `after` seconds later."""

    kind: Literal["double"] = "double"
    share: Share
    after: Seconds = 0.05


class Reorder(_Fault):
    """A share of the chunks comes after the one that follows it."""

    kind: Literal["reorder"] = "reorder"
    share: Share


class Stall(_Fault):
    """The line stands still from `at` seconds on; all that was sent meanwhile arrives in one burst at its end."""

    kind: Literal["stall"] = "stall"
    at: Seconds
    seconds: Seconds


class Freeze(_Fault):
    """Nothing is captured from `at` seconds on: a frozen browser for some seconds, a closed lid for minutes.

    `counted`: the sender notices and leaves out the numbers of the chunks; else it goes on counting where it stood, and
    only the clock on the wall tells how long it was.
    """

    kind: Literal["freeze"] = "freeze"
    at: Seconds
    seconds: Seconds
    counted: bool = False


class Skew(_Fault):
    """The sender's clock is slow (chunks come later and later, above 0) or fast, by so many parts in a million."""

    kind: Literal["skew"] = "skew"
    ppm: Annotated[float, Field(gt=-500_000.0, lt=500_000.0)]


class Cut(_Fault):
    """The connection is closed at `at` seconds. What was on its way is lost."""

    kind: Literal["cut"] = "cut"
    at: Seconds


Fault = Annotated[Delay | Loss | Double | Reorder | Stall | Freeze | Skew | Cut, Field(discriminator="kind")]


@dataclass(frozen=True, order=True)
class Arrival:
    """A chunk arrives: `at` seconds after the first one began, with the sender's number `seq`.

    `turn`: the turn of the world's sound that is in it; `sent`: when it was complete, on the wall's clock.
    """

    at: float
    seq: int
    turn: int
    sent: float


class FaultPlan(_Fault):
    """What befalls a stream. Each fault draws from a generator of its own, so that adding one changes no other's."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()

    def arrivals(self, n: int) -> Iterator[Arrival]:
        """The chunks of the sound of `n` turns, in the order in which they arrive. Without faults: 0.2 s apart.

        A chunk of turn n is complete at 0.2 (n + 1) seconds, where the sender's clock is right.
        """
        rngs = [np.random.default_rng([self.seed, i]) for i in range(len(self.faults))]
        losing = [0] * len(self.faults)  # chunks still to be lost of a run
        behind, seq = 0.0, 0  # nothing arrives before this one on a line that keeps the order
        ready: list[Arrival] = []
        skew = 1.0 + sum(fault.ppm for fault in self.faults if isinstance(fault, Skew)) * 1e-6
        for turn in range(n):
            sent = TURN_SECONDS * (turn + 1) * skew
            while ready and ready[0].at < sent:
                yield heapq.heappop(ready)
            heard, counted = _captured(self.faults, sent - TURN_SECONDS * skew)
            if not heard:
                seq += counted
                continue
            fate = _Fate(sent, max(sent, behind))
            for i, (fault, rng) in enumerate(zip(self.faults, rngs, strict=True)):
                losing[i] = fate.meet(fault, rng, losing[i])
            behind = max(behind, fate.blocks)
            for at in fate.at:
                heapq.heappush(ready, Arrival(at, seq, turn, sent))
            seq += 1
        while ready:
            yield heapq.heappop(ready)


def _captured(faults: Sequence[Fault], begins: float) -> tuple[bool, bool]:
    """Whether sound that begins at a second is captured, and else whether its chunk is counted."""
    frozen = [f for f in faults if isinstance(f, Freeze) and f.at <= begins + 1e-9 < f.at + f.seconds]
    return not frozen, any(fault.counted for fault in frozen)


class _Fate:
    """When one chunk arrives: `at`, several times or never; `blocks`: until when it holds up those behind it."""

    def __init__(self, sent: float, at: float) -> None:
        self.sent, self.at, self.blocks = sent, [at], 0.0

    def meet(self, fault: Fault, rng: np.random.Generator, losing: int) -> int:
        """Let one fault happen to it, or not; returns how many more chunks of a run are lost."""
        chance = rng.uniform()
        if isinstance(fault, Loss):
            if losing == 0 and chance < _begins(fault):
                losing = int(rng.geometric(1.0 / fault.run))
            if losing:
                self.at = []
                return losing - 1
        elif isinstance(fault, Delay) and chance < fault.share:
            late = float(rng.uniform(fault.low, fault.high))
            self.at = [max(at, self.sent + late) for at in self.at]
            self.blocks = self.sent + late if fault.in_order else self.blocks
        elif isinstance(fault, Double) and chance < fault.share:
            self.at += [at + fault.after for at in self.at[:1]]
        elif isinstance(fault, Reorder) and chance < fault.share:
            self.at = [at + 1.5 * TURN_SECONDS for at in self.at]
        elif isinstance(fault, Stall):
            end = fault.at + fault.seconds
            self.at = [end if fault.at <= at < end else at for at in self.at]
        elif isinstance(fault, Cut):
            self.at = [at for at in self.at if at < fault.at]
        return losing


def _begins(fault: Loss) -> float:
    """With which chance a run of losses begins at a chunk, so that the share of lost ones is `share`."""
    kept = fault.run * (1.0 - fault.share) / fault.share if fault.share else np.inf  # chunks between two runs
    return 1.0 / (1.0 + kept)
