"""Back to a moment of a live session, and on from there another way: what if nobody had said stop?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tml_lab.model.state import State
from tml_lab.stream.clock import heard_start

if TYPE_CHECKING:
    from tml_widgets.live_worker import LiveWorker

Kept = Callable[[int], State | None]  # a state of the session at or before a turn; None: none was kept


def go_back(worker: LiveWorker, turn: int, held: str, kept: Kept) -> bool:
    """A fork of the session, made before `turn`, takes its place and waits; returns whether it does.

    Runs in the worker's thread. The session that went on is `worker.before`. Where it cannot go back, all stays as it
    was, and a sentence says why.

    Args:
        held: who has it wait, as in `LiveWorker.pause`.
        kept: with a state from on the way, less is run again.
    """
    phase = "paused" if worker.phase in ("live", "paused") else "stopped"
    worker.status("loading", "Going back ...")
    worker.hurry(False)
    try:
        if worker.session is None or not hasattr(worker.talk, "fork"):
            raise ValueError("There is no session that can go back: start one first.")
        state = kept(turn)
        fork = worker.talk.fork(turn) if state is None else worker.talk.fork(turn, state)
    except (ValueError, ConnectionError, TimeoutError) as error:
        words = str(error)
        worker.status(phase, f"{words[:1].upper()}{words[1:]}", held=held)
        return False
    worker.take_place(fork, turn)
    worker.emit({"kind": "past", "turns": [], "until": turn})
    kept_it = "What came after is kept in Python, as `before`."
    worker.status("paused", f"Back at {heard_start(turn):.1f} s: Go on, and it goes another way. {kept_it}", held=held)
    return True
