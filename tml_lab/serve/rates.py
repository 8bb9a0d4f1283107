"""How often somebody may ask: one token bucket for each key, and no more memory than for the keys of late."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Rate:
    """A token bucket for each key.

    Args:
        per_second: what flows in; `burst`: what a bucket holds.
        keys: buckets kept; the one that was not asked for longest is forgotten, which is the same as full.
    """

    def __init__(
        self, per_second: float, burst: float, keys: int = 4096, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.per_second, self.burst, self.keys = per_second, burst, keys
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (what is in it, as of when)

    def wait(self, key: str, cost: float = 1.0) -> float:
        """Take `cost` out of the bucket and return 0, or the seconds until there is enough, taking nothing."""
        with self._lock:
            now = self._clock()
            level, then = self._buckets.pop(key, (self.burst, now))
            level = min(self.burst, level + (now - then) * self.per_second)
            short = cost - level
            self._buckets[key] = (level if short > 0 else level - cost, now)
            while len(self._buckets) > self.keys:
                self._buckets.popitem(last=False)
            return max(0.0, short / self.per_second)
