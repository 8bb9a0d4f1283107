"""Exercises of notebooks/01_time_and_micro_turns.ipynb."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.stream.clock import heard_span


def _turn(seed: int) -> tuple[int]:
    """A turn number; 2 and 6 are among those where multiples of 0.2 are not what they seem."""
    if seed < 4:
        return ((0, 2, 6, 999)[seed],)
    return (int(torch.randint(0, 10_000, (), generator=torch.Generator().manual_seed(seed))),)


ch01_played_span = Exercise(
    module="tml_lab.stream.clock",
    attribute="played_span",
    cases=_turn,
    hints=(
        "Turn 0 hears [0.0, 0.2). When is that input complete, and when can its answer begin to sound?",
        "What turn n plays sounds while turn n + 1 is heard.",
        "Divide whole numbers once: (turn + 1) / 5 and (turn + 2) / 5.",
    ),
    mistakes=(
        Mistake(heard_span, "this is what the turn heard; its answer comes one turn later"),
        Mistake(
            lambda turn: (0.2 * (turn + 1), 0.2 * (turn + 2)),
            "right but for the last bits: 0.2 * 3 is 0.6000000000000001; divide by 5 instead",
        ),
        Mistake(
            lambda turn: ((turn + 2) / 5, (turn + 3) / 5),
            "one turn too late: the answer may begin the moment its input is complete",
        ),
    ),
)


def _instant(seed: int) -> tuple[float]:
    """Boundaries between turns, instants one float before them, and others."""
    generator = torch.Generator().manual_seed(seed)
    boundary = int(torch.randint(1, 5000, (), generator=generator)) / 5
    if seed < 4:
        return ((0.0, 0.55, 0.4, 0.6)[seed],)  # each but the first gives one mistake away
    if seed % 3 == 0:
        return (boundary,)
    if seed % 3 == 1:
        return (math.nextafter(boundary, 0.0),)
    return (boundary + 0.2 * float(torch.rand((), generator=generator)),)


ch01_turn_hearing = Exercise(
    module="tml_lab.stream.clock",
    attribute="turn_hearing",
    cases=_instant,
    hints=(
        "Intervals are half-open: 0.2 belongs to turn 1. Which rounding does that ask for?",
        "Five turns a second: math.floor(seconds * 5), never seconds / 0.2 (0.6 / 0.2 is 2.9999999999999996).",
        "The product may still round up to the next turn: where turn / 5 > seconds, go one turn back.",
    ),
    mistakes=(
        Mistake(
            lambda seconds: math.floor(seconds * 5),
            "nearly: one float below a boundary the product rounds up to it; check turn / 5 <= seconds",
        ),
        Mistake(
            lambda seconds: int(seconds / 0.2),
            "0.2 is not exactly a fifth: 0.6 / 0.2 is 2.9999999999999996; multiply by 5 instead",
        ),
        Mistake(
            lambda seconds: round(seconds * 5),
            "rounding to the nearest boundary puts the second half of a turn into the next one",
        ),
        Mistake(
            lambda seconds: max(0, math.ceil(seconds * 5) - 1),
            "a boundary belongs to the turn that begins there: [start, end), not (start, end]",
        ),
    ),
)


def _turns_and_powers(seed: int) -> tuple[Tensor, Tensor]:
    """Some turn numbers and 1 to 6 powers of ten."""
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(1, 9, (), generator=generator))
    n_digits = 1 + seed % 6
    return torch.randint(0, 10**n_digits, (n,), generator=generator), 10 ** torch.arange(n_digits)


ch01_clock_digits = Exercise(
    module="tml_lab.model.embed",
    attribute="clock_digits",
    cases=_turns_and_powers,
    hints=(
        "The tens digit of 427: how often does 10 go into it, and what of that is left below ten?",
        "turns has shape [n], powers [digits]: give turns a second axis, and they meet as [n, digits].",
        "(turns[:, None] // powers) % 10",
    ),
    mistakes=(
        Mistake(
            lambda turns, powers: turns[:, None] // powers,
            "this is 427, 42, 4: keep only the last digit of each",
        ),
        Mistake(
            lambda turns, powers: (turns[:, None] // powers.flip(0)) % 10,
            "the digits are right, their order is not: ones first, then tens, hundreds ...",
        ),
        Mistake(
            lambda turns, powers: turns[:, None] % powers,
            "the remainder drops the digits above; divide by the power first, then take % 10",
        ),
    ),
)
