"""What an engine counts: plain numbers, whoever shows them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)  # seconds


@dataclass
class Histogram:
    """How often a time in seconds fell between two bounds; the last place counts what lies beyond them."""

    bounds: tuple[float, ...] = BOUNDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.counts)

    def copy(self) -> Histogram:
        """As it is now."""
        return Histogram(self.bounds, list(self.counts), self.sum)


@dataclass
class Counters:
    """Since the engine began.

    Args:
        turns: run, gap turns included; gaps: of which those for chunks that never came.
        replayed: run again, after a restart or for a fork into the past.
        again: chunks that were answered with the reply they got before.
        missed: replies later than their deadline.
        shed_pictures: turns that lost their pictures because they were late.
        opened, forked, closed, idled: sessions; the last are those that were closed for being idle.
        failed: turns in which the model failed.
        restored: sessions that came back at the start; unrestored: that could not.
        refused: calls refused, by the error's code.
        step: seconds in the model for each batch; reply: from a chunk's arrival to its reply.
    """

    turns: int = 0
    gaps: int = 0
    replayed: int = 0
    again: int = 0
    missed: int = 0
    shed_pictures: int = 0
    opened: int = 0
    forked: int = 0
    closed: int = 0
    idled: int = 0
    failed: int = 0
    restored: int = 0
    unrestored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    step: Histogram = field(default_factory=Histogram)
    reply: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True)
class Stats:
    """How an engine stands.

    Args:
        since: what was counted (a copy).
        sessions: open now; behind: of which are still running turns again.
        waiting: chunks that wait; late: seconds by which the most urgent of them is past its deadline, or 0.
        memory: bytes that the sessions take in this process; kept: bytes of their recordings, in memory and on disk.
        snapshots, snapshots_failed: of the sessions that are open now, written and not taken by the disk.
    """

    since: Counters
    sessions: int
    behind: int
    waiting: int
    late: float
    memory: int
    kept: int
    snapshots: int
    snapshots_failed: int
