"""States of a session kept on the way, so that any of its last minutes can be run again without the hour before.

A state of the nano is 6 MB: of the last 14 s one is kept for every 2 s, of the last 3 minutes one for every 10 s.
"""

from __future__ import annotations

from typing import Any

from tml_lab.model.state import State, clone_state

FINE, COARSE = 10, 50  # turns between two states
FINE_FOR, COARSE_FOR = 70, 900  # turns


class Snapshots:
    """Of one session at a time; written in the thread that steps it, read from any."""

    def __init__(self) -> None:
        self._kept: dict[int, State] = {}  # by the turn before which it was

    def keep(self, session: Any) -> None:
        """After each turn. A session that begins anew has no past."""
        turn = session.turn
        if turn == 1:
            self._kept = {}
        # Of a session that has gone back, none is later than it.
        self._kept = {at: state for at, state in self._kept.items() if at < turn}
        if turn % FINE:
            return
        kept = {**self._kept, turn: clone_state(session.state)}
        self._kept = {at: state for at, state in kept.items() if turn - at <= (FINE_FOR if at % COARSE else COARSE_FOR)}

    def before(self, turn: int) -> State | None:
        """The newest state at or before a turn; None when none is kept that far back."""
        found = max((at for at in self._kept if at <= turn), default=None)
        return None if found is None else self._kept[found]

    @property
    def oldest(self) -> int | None:
        """The first turn from which it can be run again."""
        return min(self._kept, default=None)
