"""Exercises of notebooks/11_background.ipynb."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from tml_lab.background.colleague import MAX_READ, MAX_TYPED
from tml_lab.background.panel import Change, Item, Timer
from tml_lab.config import TURN_SECONDS
from tml_lab.course.exercise import Exercise, Mistake


def _timer(seed: int) -> tuple[Timer, int]:
    """One that runs, is over, has just begun, or has not begun."""
    rng = random.Random(seed)
    started = [None, 0, 5][seed] if seed < 3 else rng.randint(0, 50)
    timer = Timer(id="tea", seconds=rng.randint(1, 60) / 2, started=started)
    return timer, 9 if seed == 0 else (started or 0) + rng.randint(0, 80)


def _left(timer: Timer, turn: int, unit: float = TURN_SECONDS, late: int = 0, least: float = 0.0,
          unset: Callable[[int], int] = lambda turn: turn) -> float:  # fmt: skip
    started = unset(turn) if timer.started is None else timer.started
    return max(least, round(timer.seconds - (turn + late - started) * unit, 3))


ch11_seconds_left = Exercise(
    module="tml_lab.background.panel",
    attribute="seconds_left",
    cases=_timer,
    hints=(
        "How many turns have passed since it was started, and how many seconds is a turn?",
        "A timer whose `started` is None has not begun: nothing has passed. And no timer shows less than 0.",
        "started: turn where timer.started is None, else that; max(0.0, seconds - (turn - started) * TURN_SECONDS).",
    ),
    mistakes=(
        Mistake(lambda timer, turn: _left(timer, turn, unit=1.0), "a turn is TURN_SECONDS long, not a second"),
        Mistake(lambda timer, turn: _left(timer, turn, least=-1e9), "a timer that is over shows 0, not less"),
        Mistake(
            lambda timer, turn: _left(timer, turn, unset=lambda _: 0),
            "where `started` is None the timer has not begun: all its seconds are left",
        ),
        Mistake(
            lambda timer, turn: _left(timer, turn, late=1),
            "in the turn in which it was started nothing has passed yet",
        ),
    ),
    atol=1e-6,
)


def _history(seed: int) -> tuple[tuple[Change, ...], int]:
    """Items that come, change, go and come back, and a turn to look at."""
    rng = random.Random(seed)
    turn, changes, there = 0, [], set()
    for n in range(0 if seed == 0 else rng.randint(3, 12)):
        turn += rng.randint(0, 2)
        name = rng.choice("abc")
        if name in there and rng.random() < 0.4:
            changes.append(Change(turn=turn, remove=name))
            there.discard(name)
        else:
            changes.append(Change(turn=turn, put=Timer(id=name, seconds=n + 1)))
            there.add(name)
    return tuple(changes), rng.choice([change.turn for change in changes]) if changes else 3


def _panel(history: Iterable[Change], until: Callable[[Change], bool], removes: bool = True) -> list[Item]:
    items: dict[str, Item] = {}
    for change in history:
        if until(change) and change.put is not None:
            items[change.put.id] = change.put
        elif until(change) and removes:
            items.pop(change.id, None)
    return list(items.values())


ch11_panel_at = Exercise(
    module="tml_lab.background.panel",
    attribute="panel_at",
    cases=_history,
    hints=(
        "Go through the changes in their order and keep what is there by id: which type keeps one thing for each id?",
        "A change of `turn` itself counts. `change.put` is an item, or None; then `change.id` is taken away.",
        "items = {}; for each change with change.turn <= turn: items[change.id] = change.put, or items.pop(change.id); "
        "list(items.values()).",
    ),
    mistakes=(
        Mistake(
            lambda history, turn: _panel(history, lambda change: True),
            "what changes after `turn` is not there yet",
        ),
        Mistake(
            lambda history, turn: _panel(history, lambda change: change.turn < turn),
            "a change of `turn` itself counts: it is asked what stands there when the turn is over",
        ),
        Mistake(
            lambda history, turn: _panel(history, lambda change: change.turn <= turn, removes=False),
            "a change without `put` takes the item away",
        ),
        Mistake(
            lambda history, turn: [c.put for c in history if c.turn <= turn and c.put is not None],
            "an item that is put again takes the place of itself",
        ),
    ),
)


def _results(seed: int) -> tuple[str, list[str]]:
    """Something typed, or nothing, and results of many lengths."""
    rng = random.Random(seed)
    if seed < 3:
        return [("", []), ("stop", []), ("", ["list done", "clock ten"])][seed]
    typed = " ".join(["stop"] * rng.choice([0, 0, 1, 60, 95]))
    lengths = [rng.choice([9, 30, 60, 100, 199]) for _ in range(rng.randint(1, 6))]
    return typed, [f"ask {'word ' * 40}"[:length].strip() for length in lengths]


def _fit(typed: str, ready: Sequence[str], most: int = MAX_READ, stop: bool = True) -> tuple[str, list[str]]:
    read, later, size = typed, [], len(typed)
    for result in ready:
        more = f"{read} {result}".strip()
        grown = size + len(result) + (1 if size else 0)
        if grown > MAX_TYPED or grown - len(typed) > most or (stop and later):
            later.append(result)
        else:
            read, size = more, grown
    return read, later


ch11_fit_turn = Exercise(
    module="tml_lab.background.colleague",
    attribute="fit_turn",
    cases=_results,
    hints=(
        "Add one result after the other. After which one must you stop, and what is left for later?",
        "Make `more`, the text with the next result. Look at len(more), and at how much longer it is than `typed`.",
        "Loop with enumerate: if len(more) > MAX_TYPED or len(more) - len(typed) > MAX_READ, return read, ready[n:].",
    ),
    mistakes=(
        Mistake(
            lambda typed, ready: (" ".join([typed, *ready]), []) if not typed and ready else _fit(typed, ready),
            "nothing was typed, so no space stands before the first result",
        ),
        Mistake(
            lambda typed, ready: (" ".join([*([typed] if typed else []), *ready]), []),
            "a turn cannot read everything at once: see MAX_READ and MAX_TYPED",
        ),
        Mistake(
            lambda typed, ready: _fit(typed, ready, most=MAX_TYPED),
            "the results of one turn have at most MAX_READ characters, or the turn is late",
        ),
        Mistake(
            lambda typed, ready: _fit(typed, ready, stop=False),
            "the order must stay: when one result does not fit, those after it wait as well",
        ),
        Mistake(
            lambda typed, ready: (f"{typed} {ready[0]}".strip(), list(ready[1:])) if ready else (typed, []),
            "as many results as fit, not one",
        ),
    ),
)
