"""Solutions of chapter 01's exercises; each stands where the stub stood."""

from __future__ import annotations

import torch


def played_span(turn):
    return (turn + 1) / 5, (turn + 2) / 5


def turn_hearing(seconds):
    turn = int(seconds * 5)
    while turn / 5 > seconds:
        turn -= 1
    return turn


def clock_digits(turns, powers):
    return torch.stack([turns // power % 10 for power in powers], dim=-1)
