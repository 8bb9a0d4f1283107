"""The interpreter made quick to answer while a session is live, so that a busy cell does not hold up its turns."""

from __future__ import annotations

import gc
import sys
import threading

SWITCH_INTERVAL = 0.0001  # seconds; with Python's 5 ms a busy cell delays a message by up to 98 ms


class LivePython:
    """While at least one session is live: threads take turns more often, and collections look at new objects only.

    A full collection stops every thread. With torch, Numba and a notebook's imports it goes through a million objects:
    0.9 s on this project's machine, four turns. So what is there when a session begins is left out of collections
    (`gc.freeze`), and put back when the last session ends. Where somebody else has frozen objects, that is left alone.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._before, self._froze = threading.Lock(), 0, 0.0, False

    def enter(self) -> None:
        """One session more is live."""
        with self._lock:
            if self._users == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_INTERVAL)
                self._froze = gc.get_freeze_count() == 0
                if self._froze:
                    gc.freeze()
            self._users += 1

    def leave(self) -> None:
        """One session less is live."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.setswitchinterval(self._before)
                if self._froze:
                    gc.unfreeze()


live_python = LivePython()
