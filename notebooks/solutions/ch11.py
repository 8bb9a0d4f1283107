"""Solutions of chapter 11's exercises; each stands where the stub stood."""

from __future__ import annotations

from tml_lab.background.colleague import MAX_READ
from tml_lab.config import TURN_SECONDS
from tml_lab.stream.turn_input import MAX_TYPED


def seconds_left(timer, turn):
    passed = 0 if timer.started is None else turn - timer.started
    return max(0.0, timer.seconds - passed * TURN_SECONDS)


def panel_at(history, turn):
    items = {}
    for change in history:
        if change.turn <= turn:
            items[change.id] = change.put
            if change.put is None:
                del items[change.id]
    return list(items.values())


def fit_turn(typed, ready):
    read, left = typed, list(ready)
    while left:
        more = (read + " " + left[0]).strip()
        if len(more) > MAX_TYPED or len(more) - len(typed) > MAX_READ:
            break
        read = more
        left.pop(0)
    return read, left
