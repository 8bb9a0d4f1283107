"""What the page shows beside the strip: the tasks in the background, and the panel that their tools draw.

Only what has changed since the last message is sent; a page that is loaded anew gets the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tml_lab.background.calculator import ToolError
from tml_lab.background.colleague import Assisted, Task
from tml_lab.background.panel import Checklist, Entry, Item, describe, panel_at

SHOWN_AFTER = 15  # turns that a task stays in sight when it has ended
MOST_ENDED = 2  # of these, the newest


@dataclass
class Beside:
    """What one session's page has been told."""

    assisted: Assisted
    _changes: int = 0
    _tasks: list[dict[str, Any]] = field(default_factory=list)

    def news(self, turn: int) -> dict[str, Any] | None:
        """The message after `turn`, None when nothing has changed."""
        new = self.assisted.history[self._changes :]
        self._changes += len(new)
        tasks = self._in_sight(turn)
        if not new and tasks == self._tasks:
            return None
        self._tasks = tasks
        put = [_shown(change.put, turn) for change in new if change.put is not None]
        return _message(turn, put, tasks, remove=[change.id for change in new if change.put is None])

    def whole(self, turn: int) -> dict[str, Any]:
        """Everything, for a page that knows nothing yet."""
        self._changes, self._tasks = len(self.assisted.history), self._in_sight(turn)
        items = panel_at(self.assisted.history, turn)
        return _message(turn, [_shown(item, turn) for item in items], self._tasks, whole=True)

    def tick(self, id: str, entry: int, done: bool) -> None:
        """The person ticks an entry of a checklist. Raises ToolError when it is not there any more."""

        def change(old: Checklist | None) -> dict[str, Any]:
            entries = list(old.entries) if old is not None else []
            if not 0 <= entry < len(entries):
                raise ToolError(f"there is no entry {entry} on {id!r}.")
            entries[entry] = Entry(text=entries[entry].text, done=done)
            return {"entries": tuple(entries)}

        self.assisted.board.edit(Checklist, id, change)

    def _in_sight(self, turn: int) -> list[dict[str, Any]]:
        """Open ones, and for a while those that have ended by themselves; one that was called off is gone."""
        tasks = self.assisted.tasks.values()
        ended = [t for t in tasks if t.ended is not None and t.status != "cancelled" and turn - t.ended < SHOWN_AFTER]
        newest = sorted(ended, key=lambda task: task.ended or 0)[-MOST_ENDED:]
        return [_task(task) for task in tasks if task.ended is None or task in newest]


def _message(turn: int, put: list[Any], tasks: list[Any], **more: Any) -> dict[str, Any]:
    return {"kind": "beside", "turn": turn, "put": put, "remove": [], "tasks": tasks, "whole": False} | more


def _task(task: Task) -> dict[str, Any]:
    status = "open" if task.ended is None else task.status
    return {"id": task.id, "tool": task.tool, "request": task.request, "status": status, "text": task.text}


def _shown(item: Item, turn: int) -> dict[str, Any]:
    return {**item.model_dump(mode="json"), "alt": describe(item, turn)}
