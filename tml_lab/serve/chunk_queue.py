"""The bounded queue between a source and the model: what is lost when the model cannot keep up.

A source in real time does not wait, and Jupyter itself drops nothing: a model 50 % too slow would be a minute
behind after two minutes. So the loss happens here, by one rule. Pictures go first, because a decision without
a picture is better than a late one. When sound alone is still too much, the oldest 200 ms are dropped, which
leaves a gap that the chunk numbers (`seq`) mark.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Command = Callable[[], None]


@dataclass
class Chunk:
    """One turn of input: what a source heard and saw in 200 ms.

    Args:
        seq: number of the chunk, counted by the source from 0; a number left out is a gap.
        audio: float32 [3200], 16 kHz mono, -1..1.
        frames: uint8 [2, H, W, 3] RGB, or None.
        text: words typed during this turn, or None.
        sent_at: the source's own clock in milliseconds when the chunk was complete; None for a recorded clip.
        arrived: this process's monotonic clock in seconds when the chunk came in.
    """

    seq: int
    audio: np.ndarray
    frames: np.ndarray | None = None
    text: str | None = None
    sent_at: float | None = None
    arrived: float = field(default_factory=time.monotonic)


class ChunkQueue:
    """A thread-safe queue of chunks and commands, in order; chunks may be dropped, commands never.

    Args:
        keep_video: with more waiting chunks than this, the oldest ones lose their pictures.
        keep_audio: with more waiting chunks than this, the oldest one is dropped whole.
    """

    def __init__(self, keep_video: int = 3, keep_audio: int = 8) -> None:
        if not 1 <= keep_video <= keep_audio:
            raise ValueError(f"keep_video ({keep_video}) must lie between 1 and keep_audio ({keep_audio}).")
        self.keep_video, self.keep_audio = keep_video, keep_audio
        self.lost_video = 0  # chunks that lost their pictures
        self.lost_audio = 0  # chunks dropped whole
        self._items: deque[Chunk | Command] = deque()
        self._typed: list[str] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many chunks wait."""
        with self._changed:
            return len(self._chunks())

    def _chunks(self) -> list[Chunk]:
        return [item for item in self._items if isinstance(item, Chunk)]

    def put(self, chunk: Chunk) -> None:
        """Add a chunk at once; older ones give way by the rule above."""
        with self._changed:
            self._items.append(chunk)
            waiting = self._chunks()
            if len(waiting) > self.keep_audio:
                oldest = waiting.pop(0)
                self._items.remove(oldest)
                self.lost_audio += 1
                self.lost_video += oldest.frames is not None
                if oldest.text:  # typed words are never lost: the next chunk carries them
                    self._typed.insert(0, oldest.text)
            for late in waiting[: max(0, len(waiting) - self.keep_video)]:
                if late.frames is not None:
                    late.frames = None
                    self.lost_video += 1
            self._changed.notify_all()

    def put_blocking(self, chunk: Chunk) -> None:
        """Add a chunk as soon as there is room; nothing is dropped (for clips not in real time)."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._chunks()) < self.keep_video)
            self._items.append(chunk)
            self._changed.notify_all()

    def type(self, text: str) -> None:
        """Give words to the next turn that is taken out."""
        with self._changed:
            self._typed.append(text)

    def command(self, action: Command) -> None:
        """Have the taker run `action` when everything put before it is done."""
        with self._changed:
            self._items.append(action)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget waiting chunks, typed words and the counts of losses; commands stay."""
        with self._changed:
            self.lost_video = self.lost_audio = 0
            self._items = deque(item for item in self._items if not isinstance(item, Chunk))
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
        """The next item; None when the queue is closed and empty, or after `patience` seconds without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, patience)
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Chunk) and self._typed:
                item.text = " ".join(filter(None, [item.text, *self._typed]))
                self._typed.clear()
            self._changed.notify_all()
            return item
