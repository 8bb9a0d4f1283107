"""The queue between a source in real time and the model: which turn is run next, and on what.

A source does not wait, and Jupyter itself drops nothing: a model 50 % too slow would be a minute behind after two
minutes. So what is lost is lost here, by one rule. Pictures go first, because a decision without a picture is better
than a late one. Of the sound, `CatchUp` decides: a chunk that is missing is a turn in which nothing was heard, and one
that there is no time for is a turn that is skipped, so that the session's clock keeps the time of the world.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tml_lab.serve.catch_up import CatchUp, Next, Rule, world_clock
from tml_lab.stream.recording import SKIPPED, Sound

Command = Callable[[], None]


@dataclass
class Chunk:
    """One turn of input: what a source heard and saw in 200 ms.

    Args:
        seq: number of the chunk, counted by the source from 0; a number left out is a gap.
        audio: float32 [3200], 16 kHz mono, -1..1. As the queue gives it out also None (a gap), or `SKIPPED`.
        frames: uint8 [2, H, W, 3] RGB, or None.
        text: words typed during this turn, or None.
        sent_at: the source's own clock in milliseconds when the chunk was complete; None for a recorded clip.
        arrived: this process's monotonic clock in seconds when the chunk came in.
        turns: how many turns it stands for: more than one only where they are skipped.
        late: its moment has passed: what is said in this turn is not to be played.
    """

    seq: int
    audio: Sound
    frames: np.ndarray | None = None
    text: str | None = None
    sent_at: float | None = None
    arrived: float = field(default_factory=time.monotonic)
    turns: int = 1
    late: bool = False
    order: int = field(default=0, repr=False)  # in which it was put


class ChunkQueue:
    """A thread-safe queue of chunks and commands, in order; chunks may be dropped, commands and typed words never.

    Args:
        keep_video: with more waiting chunks than this, the oldest ones lose their pictures.
        keep_audio: with more waiting chunks than this, the oldest one is dropped whole.
        rule: of catching up.
        clock: seconds.
    """

    def __init__(
        self, keep_video: int = 3, keep_audio: int = 25, rule: Rule | None = None,
        clock: Callable[[], float] = world_clock,
    ) -> None:  # fmt: skip
        if not 1 <= keep_video <= keep_audio:
            raise ValueError(f"keep_video ({keep_video}) must lie between 1 and keep_audio ({keep_audio}).")
        self.keep_video, self.keep_audio = keep_video, keep_audio
        self.lost_video = 0  # chunks that lost their pictures
        self.lost_audio = 0  # chunks dropped whole
        self._rule, self._clock = rule, clock
        self._line: CatchUp[Chunk] = CatchUp(rule)
        self._untimed: deque[Chunk] = deque()  # of clips that are not in real time
        self._commands: deque[tuple[int, Command]] = deque()  # each after what was put before it
        self._typed: list[str] = []
        self._changed = threading.Condition()
        self._closed = False
        self._put, self._last = 0, clock()

    def __len__(self) -> int:
        """How many chunks wait."""
        with self._changed:
            return len(self._untimed) + len(self._line)

    def put(self, chunk: Chunk) -> None:
        """Add a chunk at once; older ones give way by the rule above."""
        with self._changed:
            self._add(chunk)
            if not self._line.put(chunk.seq, chunk, self._last) and chunk.text:
                self._typed.append(chunk.text)
            if len(self._line) > self.keep_audio:
                oldest = self._line.drop()
                self.lost_audio += 1
                self.lost_video += oldest.frames is not None
                if oldest.text:  # typed words are never lost: the next chunk carries them
                    self._typed.insert(0, oldest.text)
            for late in self._line.waiting[: max(0, len(self._line) - self.keep_video)]:
                if late.frames is not None:
                    late.frames = None
                    self.lost_video += 1
            self._changed.notify_all()

    def _add(self, chunk: Chunk) -> None:
        self._put += 1
        chunk.order, self._last = self._put, self._clock()

    def put_blocking(self, chunk: Chunk) -> None:
        """Add a chunk as soon as there is room; nothing is dropped (for clips not in real time)."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._untimed) < self.keep_video)
            self._add(chunk)
            self._untimed.append(chunk)
            self._changed.notify_all()

    def type(self, text: str) -> None:
        """Give words to the next turn that is taken out."""
        with self._changed:
            self._typed.append(text)

    def command(self, action: Command) -> None:
        """Have the taker run `action` when everything put before it is done."""
        with self._changed:
            self._commands.append((self._put, action))
            self._changed.notify_all()

    def pause(self) -> None:
        """After what waits, time stands still."""
        with self._changed:
            self._line.pause()

    def resume(self) -> None:
        """Time goes on with the next chunk."""
        with self._changed:
            self._line.resume()
            self._changed.notify_all()

    def give_up(self) -> None:
        """Drop all chunks that wait; their turns are skipped, and what was typed goes to the next turn."""
        with self._changed:
            while len(self._line):
                dropped = self._line.drop()
                self.lost_audio += 1
                self._typed += [dropped.text] if dropped.text else []

    def clear(self) -> None:
        """Forget waiting chunks, typed words, the time and the counts of losses; commands stay."""
        with self._changed:
            self.lost_video = self.lost_audio = 0
            self._line, self._last = CatchUp(self._rule), self._clock()
            self._untimed.clear()
            self._typed.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Wake the taker for the last time: `get` returns None when nothing is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def get(self, patience: float | None = None) -> Chunk | Command | None:
        """The next turn to run, or command; None when the queue is closed and empty, or when it is `patience` seconds
        since the last chunk came."""
        with self._changed:
            while (item := self._take()) is None:
                left = None if patience is None else self._last + patience - self._clock()
                if (self._closed and not len(self._line)) or (left is not None and left <= 0):
                    return None
                wake = self._line.wake(self._clock())
                waits = [seconds for seconds in (left, wake) if seconds is not None]
                self._changed.wait(max(min(waits), 1e-3) if waits else None)
            self._changed.notify_all()
            return item

    def _take(self) -> Chunk | Command | None:
        """What can be done now."""
        waiting = [chunk.order for chunk in (*self._untimed, *self._line.waiting)]
        if self._commands and self._commands[0][0] < min(waiting, default=self._put + 1):
            return self._commands.popleft()[1]
        if self._untimed:
            return self._carrying(self._untimed.popleft())
        if self._closed and not len(self._line):
            return None
        step = self._line.next(self._clock())
        return None if step is None else self._as_chunk(step)

    def _as_chunk(self, step: Next[Chunk]) -> Chunk:
        if step.chunk is not None:
            step.chunk.late = step.late
            return self._carrying(step.chunk)
        gap = Chunk(self._line.seq(step.turn), None, late=step.late, turns=step.turns)
        if step.kind == "gap":
            return self._carrying(gap)
        self._typed += [chunk.text for chunk in step.dropped if chunk.text]
        self.lost_audio += len(step.dropped)
        gap.audio = SKIPPED
        return gap

    def _carrying(self, chunk: Chunk) -> Chunk:
        """With the words that were typed."""
        if self._typed:
            chunk.text = " ".join(filter(None, [chunk.text, *self._typed]))
            self._typed.clear()
        return chunk
