"""How a session keeps the time of the world when its chunks do not: which turn is run next, and on what.

A session's turn is 0.2 s of the world, whatever comes of it. `CatchUp` gives each chunk its turn and says what to do,
and when: hear a chunk, run a gap (`Session.step(None)`), or skip turns that nobody needs any more
(`Session.step(SKIPPED)`). It keeps no clock of its own: `now` is given to it, in seconds.

What it does, in the order in which it asks:

    the next chunk is there             hear it; late ones one after the other, as fast as the model goes
    it is not, but a later one is       it is lost, once it is `reorder` late. Up to `bridge` turns: skip them, so that
                                        what is heard next joins on to what was heard before, as words that lost a
                                        piece are understood best. More, or more than one turn in `spare`: gaps, since
                                        it keeps time by the turns that it ran as well as by the clock
    none is there                       wait `hold` seconds, for a line that stands still brings all of it later; then
                                        a gap in every turn, so that what is due is said in time
    nothing for `sleep` seconds         wait without turns; when chunks come again, skip to the present
    a gap of more than `most` turns     skip all but the last `most`
    the model is too slow for the line  skip what is not heard yet, up to the present
    too many chunks wait                `drop` the oldest: its turn is skipped

A turn that is run more than `stale` seconds after its time is `late`: what the model says in it answers a moment that
has passed, so it is not to be played.

A sender whose chunks stay late, at their usual pace, has lost time (its clock is slow, or it was frozen and does not
know it): the turns that are missing become a gap. One whose chunks come earlier and earlier has a fast clock, and now
and then one of them is left out.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from tml_lab.config import TURN_SECONDS

Chunk = TypeVar("Chunk")
PACE = 5  # chunks over which a sender's pace is judged: one second
STEADY = 0.1  # seconds by which their delays differ at most, when it is the sender's clock and not the line
CRUMB = 1e-6  # seconds: sums of 0.2 are not exact


def world_clock() -> float:
    """Seconds of a clock that goes on while the machine sleeps, and that nobody sets."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):  # Linux's, macOS's; `time.monotonic` counts sleep on Windows
        if hasattr(time, name):
            return time.clock_gettime(getattr(time, name))
    return time.monotonic()


@dataclass(frozen=True)
class Rule:
    """The limits, in seconds and turns; what each is for stands above. `tml bench late` compares `bridge` with none.

    `spare`: one turn in twenty is half of the tenth by which a timed answer may be off (the benchmarks' `time_window`).
    `stale`: speech half a second late still answers; a rule that left it out after 0.4 s lost more than it saved.
    """

    reorder: float = 0.2
    hold: float = 4.0
    stale: float = 1.0
    sleep: float = 30.0
    most: int = 150
    bridge: int = 2
    spare: int = 20

    def __post_init__(self) -> None:
        if not (0 <= self.reorder <= self.hold <= self.sleep and self.stale >= 0 <= self.bridge < self.most):
            raise ValueError(f"{self} makes no sense: 0 <= reorder <= hold <= sleep, 0 <= stale, 0 <= bridge < most.")


@dataclass(frozen=True)
class Next(Generic[Chunk]):
    """What to do next: `turns` turns from `turn` on, by one chunk (`hear`), by a gap or by skipping.

    `late`: what is said in it is not to be played. `dropped`: chunks of turns that are skipped.
    """

    kind: Literal["hear", "gap", "skip"]
    turn: int
    chunk: Chunk | None = None
    late: bool = False
    turns: int = 1
    dropped: tuple[Chunk, ...] = ()


class CatchUp(Generic[Chunk]):
    """Puts chunks in their turns. Not thread-safe: its owner has a lock."""

    def __init__(self, rule: Rule | None = None) -> None:
        self.rule = rule or Rule()
        self.turn = 0  # the next one
        self.lost = self.left_out = self.skipped = 0  # turns without their chunk, chunks without a turn, turns not run
        self._waiting: dict[int, Chunk] = {}  # by turn
        self._dropped: set[int] = set()  # turns
        self._paused = False
        self._offset: int | None = None  # turn - seq
        self._origin = 0.0  # when the chunk of turn 0 was due
        self._pace: deque[tuple[float, float]] = deque(maxlen=PACE)  # (arrival, how late), the newest last
        self._last = self._ran = -math.inf  # when a chunk came, when a turn was given out
        self._takes: deque[float] = deque(maxlen=PACE)  # seconds that turns took, one right after the other
        self._given_up = self._in_gap = False
        self._bridged = -math.inf  # the turn after the last bridge

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> list[Chunk]:
        """The chunks that wait, in the order of their turns."""
        return [self._waiting[turn] for turn in sorted(self._waiting)]

    def drop(self) -> Chunk:
        """Take away the oldest chunk that waits; its turn will be skipped."""
        turn = min(self._waiting)
        self._dropped.add(turn)
        return self._waiting.pop(turn)

    def pause(self) -> None:
        """What waits is still run; then time stands still, until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """The next chunk that comes is of the next turn."""
        self._paused, self._offset = False, None
        self._pace.clear()

    def seq(self, turn: int) -> int:
        """The sender's number for a turn."""
        return turn - (self._offset or 0)

    def due(self, turn: int) -> float:
        """When the chunk of a turn should be here."""
        return self._origin + TURN_SECONDS * turn

    def behind(self, now: float) -> float:
        """By how many seconds the next turn is late; below 0 when it is not due yet."""
        return now - self.due(self.turn)

    def put(self, seq: int, chunk: Chunk, now: float) -> bool:
        """A chunk has arrived; whether it has a turn. One that came twice, or too late for its turn, has none."""
        if self._offset is None:
            free = max([self.turn - 1, *self._waiting]) + 1
            self._offset, self._origin = free - seq, now - TURN_SECONDS * free
        elif self._last > -math.inf and self._asleep(now):  # this chunk is of now
            self._offset = max(self.turn, math.floor((now - self._origin) / TURN_SECONDS + CRUMB)) - seq
            self._pace.clear()
        turn = self._set_right(seq, now)
        self._last, self._given_up = now, False
        if turn is None or turn < self.turn or turn in self._waiting or turn in self._dropped:
            self.left_out += 1
            return False
        self._waiting[turn] = chunk
        return True

    def _set_right(self, seq: int, now: float) -> int | None:
        """The chunk's turn, after the sender's clock has been compared with ours; None: it is left out."""
        assert self._offset is not None
        late = now - self.due(seq + self._offset)
        if late < -2 * TURN_SECONDS:  # the first chunks were late, not this one early
            self._origin += late
            self._pace.clear()
            late = 0.0
        self._pace.append((now, late))
        lates = [each for _, each in self._pace]
        regular = len(self._pace) == PACE and now - self._pace[0][0] > TURN_SECONDS * (PACE - 1.5)
        if not regular or max(lates) - min(lates) > STEADY:
            return seq + self._offset  # a burst, or a line that comes and goes
        turns = math.floor(min(lates) / TURN_SECONDS + CRUMB) if min(lates) > 0 else 0
        turns = -1 if max(lates) <= -TURN_SECONDS + CRUMB else turns  # lost by the sender's clock, or won
        self._offset += turns
        self._pace = deque(((at, each - turns * TURN_SECONDS) for at, each in self._pace), PACE)
        if turns < 0:
            return None
        return seq + self._offset

    def next(self, now: float) -> Next[Chunk] | None:
        """What to do now; None: nothing yet (see `wake`). Each call's answer is to be done before the next call."""
        if self._offset is None and not self._waiting:
            return None
        if not self._waiting and self.rule.hold <= self.behind(now) + CRUMB and not self._asleep(now):
            self._given_up = True
        found = self._next(now)
        took = now - self._ran  # what the turn before took, when there was no waiting in between
        self._ran = now if found is not None else -math.inf
        if found is None or found.kind == "skip":
            self._takes.clear()
        elif took < math.inf:
            self._takes.append(took)
        if found is not None:
            self._in_gap = found.kind == "gap"  # what began as a gap is one to its end
            self.turn += found.turns
            self.lost += found.turns if found.kind == "gap" else 0
            self.skipped += found.turns if found.kind == "skip" else 0
        return found

    def _next(self, now: float) -> Next[Chunk] | None:
        behind = self.behind(now)
        late = behind > self.rule.stale + CRUMB
        first = min(self._waiting, default=None)
        if late and self._too_slow():
            return self._skip(math.floor(behind / TURN_SECONDS + CRUMB))
        if self.turn in self._dropped:
            return self._skip(next(n for n in range(1, len(self._dropped) + 1) if self.turn + n not in self._dropped))
        if first is not None and first == self.turn:
            return Next("hear", self.turn, self._waiting.pop(first), late)
        if behind + CRUMB < self._patience(now):
            return None
        missing = math.floor(behind / TURN_SECONDS) + 1 if first is None else first - self.turn
        may_bridge = first is not None and missing <= self.rule.bridge and not (self._paused or self._in_gap)
        if may_bridge and self.turn - self._bridged >= self.rule.spare * missing:
            self._bridged = self.turn + missing
            return self._skip(missing)
        if missing > self.rule.most:
            return self._skip(missing - self.rule.most)
        return Next("gap", self.turn, late=late)

    def _skip(self, turns: int) -> Next[Chunk]:
        self._dropped -= set(range(self.turn, self.turn + turns))
        gone = [turn for turn in sorted(self._waiting) if turn < self.turn + turns]
        return Next("skip", self.turn, turns=turns, dropped=tuple(self._waiting.pop(turn) for turn in gone))

    def _too_slow(self) -> bool:
        """Whether turns take longer than they last, so that the present is never reached by running them all."""
        return len(self._takes) == PACE and sorted(self._takes)[PACE // 2] >= TURN_SECONDS

    def _asleep(self, now: float) -> bool:
        return now - self._last > self.rule.sleep

    def _patience(self, now: float) -> float:
        """How many seconds late the next turn must be before it is run without its chunk."""
        if self._waiting:
            return -math.inf if self._paused else self.rule.reorder
        if self._asleep(now) or self._paused:
            return math.inf
        return self.rule.reorder if self._given_up else self.rule.hold

    def wake(self, now: float) -> float | None:
        """In how many seconds `next` may have something although no chunk comes; None: never."""
        if self._offset is None and not self._waiting:
            return None
        known = self.turn in self._waiting or self.turn in self._dropped
        wait = 0.0 if known else self._patience(now) - self.behind(now)
        return max(0.0, wait) if wait < math.inf else None
