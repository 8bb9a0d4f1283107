"""How long to wait before the next try: twice as long each time, with chance, so that forty clients do not come back at
one instant after a server's restart."""

from __future__ import annotations

import random

FIRST, MOST = 0.1, 5.0  # seconds


def back_off(tries: int) -> float:
    """Seconds to wait after so many failed tries (1, 2, ...): between half and all of a doubling time."""
    return min(MOST, FIRST * 2.0 ** (tries - 1)) * random.uniform(0.5, 1.0)
