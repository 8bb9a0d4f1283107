"""`Console`: the live session laid out for a teacher before forty people.

The same widget as `LiveSession`, with another view of it: large, worked by keys, with a rehearsed fall-back on one of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import traitlets as t

from tml_lab.background.colleague import Assisted
from tml_lab.model.state import State
from tml_lab.serve.aside import Aside
from tml_widgets.esm import link
from tml_widgets.fallback import Fallback
from tml_widgets.inquiry import Inquiry
from tml_widgets.live_session import STATIC, LiveSession
from tml_widgets.live_worker import SessionLike
from tml_widgets.sources import Clip, Microphone


class Console(LiveSession):
    """A live conversation on a projector. Press ? on the page for its keys.

    Args:
        fallback: the clip that stands in for the microphone at one key: a name of `clips`, a file or saved recording,
            or a `Clip`. None: the source's own clip, or the first of `clips`. It is rehearsed when the page opens.
        bookmarks: turns marked with the key b, in the order they were marked.

    The other arguments are those of `LiveSession`. Raises ValueError for a fall-back that is not there.
    """

    _esm = link(STATIC / "console.js")
    _css = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in ("live_session.css", "console.css"))

    bookmarks = t.List(t.Int(), help="the turns that were marked").tag(sync=True)

    def __init__(
        self,
        model: str | Path | Callable[[], SessionLike] = "nano",
        source: Microphone | Clip | None = None,
        save_to: str | Path = "recordings",
        seed: int = 0,
        colleague: bool | Callable[[Any], Assisted] | None = None,
        fallback: str | Path | Clip | None = None,
    ) -> None:
        super().__init__(model, source, save_to, seed, colleague)
        self.fallback = Fallback(self._find(fallback), self._make_session) if fallback or self._clips else None
        self._rehearsal: Iterator[None] | None = None
        aside = Aside(str(model)) if isinstance(model, str | Path) else None
        self.inquiry = Inquiry(aside, lambda: self._worker.rows, lambda: self._worker.talk, self._emit)
        self._worker.after_turn = self.inquiry.after_turn
        self._handlers |= {"why": self._on_why, "whatif": self._on_what_if}

    def _on_hello(self, content: dict[str, Any], buffers: list[Any]) -> None:
        super()._on_hello(content, buffers)
        self._worker.command(self._rehearse)

    def _on_start(self, content: dict[str, Any], buffers: list[Any]) -> None:
        self.bookmarks = []
        super()._on_start(content, buffers)

    def _kept_state(self, turn: int) -> State | None:
        return self.inquiry.snapshots.before(turn)

    def _gone_back(self, turn: int) -> None:
        self.bookmarks = [mark for mark in self.bookmarks if mark < turn]

    def _on_why(self, content: dict[str, Any], _: list[Any]) -> None:
        turn = content.get("turn")
        self.inquiry.why(None if turn is None else int(turn))

    def _on_what_if(self, content: dict[str, Any], _: list[Any]) -> None:
        span = int(content["from"]), int(content["to"])
        self.inquiry.what_if(span, list(content.get("parts", [])), str(content.get("typed", "")))

    def close(self) -> None:
        """End the session and both processes."""
        self.inquiry.close()
        super().close()

    def _rehearse(self) -> None:
        """One turn of the fall-back, and the next when nothing else waits; then it goes to the page."""
        if self.fallback is None:
            return
        if self.fallback.ready:
            self._tell_fallback()
            return
        if self._rehearsal is None:
            last = (len(self.heads) - 1, 0) if self.heads else None
            self.fallback.attention = self._worker.attention or last
            self._rehearsal = self.fallback.steps()
        with suppress(StopIteration):
            next(self._rehearsal)
            self._worker.command(self._rehearse)
            return
        self._rehearsal = None  # where it failed, the next page that opens tries again
        self._tell_fallback()

    def _tell_fallback(self) -> None:
        if self.fallback is not None:
            self._emit(*self.fallback.message())
        if self.inquiry.aside is not None:
            self.inquiry.aside.warm_up()  # so that the first question need not wait for it
