"""The rehearsed fall-back: a recorded clip that the model has already answered, kept whole by the page.

It is run through the model when the page opens, by the same worker as a live session, and sent to the browser message
by message. From then on one key plays it without the kernel: when the microphone fails, or the kernel is busy, or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tml_lab.serve.chunk_queue import ChunkQueue
from tml_widgets.live_worker import LiveWorker, SessionLike
from tml_widgets.protocol import heard_message
from tml_widgets.sources import Clip

LONGEST = 300  # turns: a minute; what is beyond is left out


@dataclass
class Fallback:
    """A clip's rehearsal.

    Args:
        clip: what is heard.
        make_session: makes a fresh session, as for a live one; the same clip and seed give the same answers.
        attention: `(layer, head)` whose attention it shows.
    """

    clip: Clip
    make_session: Callable[[], SessionLike]
    attention: tuple[int, int] | None = None
    ready: bool = False
    failed: str = ""  # why it could not be rehearsed
    _sent: list[tuple[dict[str, Any], list[bytes]]] = field(default_factory=list)

    def steps(self) -> Iterator[None]:
        """Rehearse, one turn of the model at each `next`, so that a live session need not wait for the whole."""

        def keep(content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
            if content["kind"] == "turn":
                self._sent.append((content, buffers or []))
            elif content.get("phase") == "error":
                self.failed = content["notice"]

        self.failed = ""
        self._sent.clear()

        worker = LiveWorker(self.make_session, ChunkQueue(), keep, attention=self.attention)
        chunks = [chunk for chunk, _ in zip(self.clip.chunks(), range(LONGEST), strict=False)]
        turns = worker.through(chunks)
        for chunk in chunks:
            self._sent.append(heard_message(chunk, self.clip.words_ending_in(chunk.seq)))
            if next(turns, None) is None:
                return  # the model cannot be started
            yield
        turns.close()
        self.ready = True

    def message(self) -> tuple[dict[str, Any], list[bytes]]:
        """`(content, buffers)` of a `fallback` message; where it failed, only why."""
        if not self.ready:
            return {"kind": "fallback", "name": self.clip.name, "messages": [], "failed": self.failed}, []
        messages = [content for content, _ in self._sent]
        content = {"kind": "fallback", "name": self.clip.name, "messages": messages}
        return content, [data for _, buffers in self._sent for data in buffers]
