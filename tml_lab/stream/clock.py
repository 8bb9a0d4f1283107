"""The two clocks: what was *heard* in a turn, and when the turn's output is *played*.

Turn ``n`` hears ``[0.2 n, 0.2 (n + 1))``. Its output can only be computed once that input is complete, so it
is played in ``[0.2 (n + 1), 0.2 (n + 2))``: exactly one turn later. Integers are turns, floats are seconds,
intervals are half-open. No function here is called just ``time``: the name always says which clock.

Seconds are computed as ``turn / TURNS_PER_SECOND``, a single correctly rounded division, never by adding 0.2
up:
``0.2 * 3`` is ``0.6000000000000001``, and such crumbs put a sound into the wrong turn.
"""

from __future__ import annotations

import math
from enum import StrEnum

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES, TURN_SECONDS

TURNS_PER_SECOND = SAMPLE_RATE // TURN_SAMPLES
assert SAMPLE_RATE % TURN_SAMPLES == 0 and abs(TURNS_PER_SECOND * TURN_SECONDS - 1) < 1e-12


class Clock(StrEnum):
    """Which of the two clocks a span of seconds is read on."""

    HEARD = "heard"
    PLAYED = "played"


def _check_turn(turn: int) -> int:
    if turn < 0:
        raise ValueError(f"turn {turn} lies before the recording: turns count from 0.")
    return turn


def _check_seconds(seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{seconds!r} is not a time in a recording: give seconds from 0 up.")
    return seconds


def heard_start(turn: int) -> float:
    """Second at which turn ``turn`` begins to hear."""
    return _check_turn(turn) / TURNS_PER_SECOND


def heard_span(turn: int) -> tuple[float, float]:
    """``[start, end)`` in seconds on the heard clock."""
    return heard_start(turn), heard_start(turn + 1)


def played_start(turn: int) -> float:
    """Second at which the output of turn ``turn`` begins to sound: one turn after it began to hear."""
    return heard_start(_check_turn(turn) + 1)


def played_span(turn: int) -> tuple[float, float]:
    """``[start, end)`` in seconds on the played clock."""
    return played_start(turn), played_start(turn + 1)


def span(turn: int, clock: Clock | str) -> tuple[float, float]:
    """``[start, end)`` of a turn on the clock named."""
    return heard_span(turn) if Clock(clock) is Clock.HEARD else played_span(turn)


def turn_hearing(seconds: float) -> int:
    """The turn that hears the instant ``seconds`` (heard clock): ``heard_span(turn)`` contains it."""
    turn = math.floor(_check_seconds(seconds) * TURNS_PER_SECOND)
    # The product may round across a boundary; the spans above are the definition, so they decide.
    if heard_start(turn) > seconds:
        return turn - 1
    return turn + 1 if heard_start(turn + 1) <= seconds else turn


def turn_playing(seconds: float) -> int | None:
    """The turn whose output sounds at ``seconds`` (played clock); None before 0.2 s, when nothing can."""
    turn = turn_hearing(seconds) - 1
    return turn if turn >= 0 else None


def turns_covering(n_samples: int) -> int:
    """How many whole turns hold ``n_samples`` samples (the last one padded with silence)."""
    if n_samples < 0:
        raise ValueError(f"{n_samples} samples is not a length.")
    return -(-n_samples // TURN_SAMPLES)


def sample_span(turn: int) -> slice:
    """Where turn ``turn`` lies in an array of input (or output) samples."""
    return slice(_check_turn(turn) * TURN_SAMPLES, (turn + 1) * TURN_SAMPLES)
