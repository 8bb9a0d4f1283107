"""Calls whose arguments are still being written: what there is of them is drawn already.

A chart of twenty points takes a model seconds to write. It stands on the panel from its first point on and grows; when
the call breaks off, or its arguments turn out to be wrong, what stood there before comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from pydantic_core import from_json

from tml_lab.background.agent import Tool
from tml_lab.background.arguments import checked
from tml_lab.background.calculator import ToolError
from tml_lab.background.panel import Item
from tml_lab.background.panel_tools import PanelTool


class Draft:
    """One call of one tool."""

    def __init__(self, tool: PanelTool) -> None:
        self.tool = tool
        self._before: dict[str, Item | None] = {}  # by id; a call may name its id late
        self._drawn: dict[str, Any] = {}

    def write(self, so_far: str) -> None:
        """Draw what can be read of the arguments; nothing where that is not enough for an item yet."""
        complete = so_far[: max(so_far.rfind(end) for end in ",]}") + 1]  # a number may have further digits
        try:
            given = self.tool.partial(from_json(complete, allow_partial=True))
            asked = checked(self.tool.arguments, **given) if given else None
        except (ValueError, TypeError):  # of which ToolError is one
            return
        if asked is None or given == self._drawn:
            return
        self._drawn = given
        name = getattr(asked, "id", "")
        if name not in self._before:
            self.take_back()
            self._before[name] = self.tool.board.get(name)
        try:
            self.tool.run(asked)
        except ToolError:
            del self._before[name]

    def take_back(self) -> None:
        """What stood there before stands there again."""
        for name, item in self._before.items():
            self.tool.board.restore(name, item)
        self._before.clear()


class Drafts:
    """The calls of one answer, by their places in it. Those that are not done when it ends are taken back."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self.tools = tools
        self._drafts: dict[int, Draft] = {}

    def __enter__(self) -> Drafts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for draft in self._drafts.values():
            draft.take_back()

    def write(self, calls: Mapping[int, Mapping[str, Any]]) -> None:
        """Draw what has come of the calls so far, as the chat protocol has them."""
        for place, call in calls.items():
            tool = self.tools.get(call["function"]["name"])
            if isinstance(tool, PanelTool):
                self._drafts.setdefault(place, Draft(tool)).write(call["function"]["arguments"])

    def done(self, place: int) -> None:
        """This call has been carried out: what it drew stays."""
        self._drafts.pop(place, None)
