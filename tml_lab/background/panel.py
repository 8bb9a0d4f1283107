"""The panel beside the conversation: charts, tables, timers and checklists, as plain data.

    board = Board()
    board.put(Chart, "sales", labels=["may", "june"], values=[3, 5])    from any thread: creates or updates by id
    board.collect(turn)                                                 what has changed, stamped with a turn
    panel_at(history, turn)                                             all that stood there in that turn

Time here is the session's, counted in turns: a timer runs no faster than the conversation, and a recording shows later
what was seen then. What changed in which turn goes into `Recording.panel`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, model_validator

from tml_lab.background.arguments import Plain, checked
from tml_lab.background.calculator import ToolError
from tml_lab.config import TURN_SECONDS

MAX_ITEMS = 12
MAX_ROWS = 60  # of a table, and points of a chart
MAX_COLUMNS = 8
MAX_ENTRIES = 100  # of a checklist
MAX_TIMER = 10_800  # seconds
MAX_TEXT = 80  # characters of a label or a cell
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(min_length=1, max_length=40)]
Row = Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_COLUMNS)]


class Chart(Plain):
    """Numbers as bars or as a line, with a label below each."""

    kind: Literal["chart"] = "chart"
    id: Name
    title: Text = ""
    labels: tuple[Text, ...] = Field((), max_length=MAX_ROWS)
    values: tuple[float, ...] = Field((), max_length=MAX_ROWS)
    unit: Text = ""
    shape: Literal["bars", "line"] = "bars"

    @model_validator(mode="after")
    def _belongs_together(self) -> Chart:
        if len(self.labels) != len(self.values):
            raise ValueError(f"{len(self.labels)} labels do not fit {len(self.values)} values")
        return self


class Table(Plain):
    """Rows of text under the names of their columns."""

    kind: Literal["table"] = "table"
    id: Name
    title: Text = ""
    columns: Row
    rows: tuple[Row, ...] = Field((), max_length=MAX_ROWS)

    @model_validator(mode="after")
    def _belongs_together(self) -> Table:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} cells, and the table {len(self.columns)} columns")
        return self


class Timer(Plain):
    """So many seconds from the turn `started` on; None until the session has taken notice of it."""

    kind: Literal["timer"] = "timer"
    id: Name
    title: Text = ""
    seconds: float = Field(gt=0, le=MAX_TIMER)
    started: int | None = Field(default=None, ge=0)


class Entry(Plain):
    """Something to be kept on a checklist, and whether it is done."""

    text: str = Field(min_length=1, max_length=60)
    done: bool = False


class Checklist(Plain):
    """Things to be ticked off."""

    kind: Literal["checklist"] = "checklist"
    id: Name
    title: Text = ""
    entries: tuple[Entry, ...] = Field((), max_length=MAX_ENTRIES)


Item = Chart | Table | Timer | Checklist
Kind = TypeVar("Kind", Chart, Table, Timer, Checklist)
Items = tuple[Annotated[Item, Field(discriminator="kind")], ...]


class Change(Plain):
    """In this turn an item was put there (anew, or in place of itself), or one was taken away."""

    turn: int = Field(ge=0)
    put: Annotated[Item, Field(discriminator="kind")] | None = None
    remove: str | None = None

    @property
    def id(self) -> str:
        """Of the item concerned."""
        return self.put.id if self.put is not None else self.remove or ""


_HISTORY = TypeAdapter(tuple[Change, ...])


def panel_at(history: Iterable[Change], turn: int) -> list[Item]:
    """All items that stood there when `turn` was over, in the order in which they came."""
    items: dict[str, Item] = {}
    for change in history:
        if change.turn > turn:
            break
        if change.put is not None:
            items[change.id] = change.put
        else:
            items.pop(change.id, None)
    return list(items.values())


def seconds_left(timer: Timer, turn: int) -> float:
    """What the timer shows when `turn` is over; 0 from then on when its time has come."""
    started = turn if timer.started is None else timer.started
    return max(0.0, round(timer.seconds - (turn - started) * TURN_SECONDS, 3))


def to_plain(history: Iterable[Change]) -> tuple[dict[str, Any], ...]:
    """The history as `Recording.panel` keeps it."""
    return tuple(change.model_dump(mode="json", exclude_none=True) for change in history)


def from_plain(changes: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """`Recording.panel` -> the history. Raises pydantic's ValidationError for what is none."""
    return _HISTORY.validate_python(tuple(changes))


class Board:
    """The panel while a conversation runs: tools write in their thread, the session takes what has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[str, Item] = {}
        self._changed: set[str] = set()
        self.turn = 0  # the last one that was collected

    @property
    def items(self) -> tuple[Item, ...]:
        """All that is there now."""
        with self._lock:
            return tuple(self._items.values())

    def put(self, kind: type[Kind], id: str, **fields: object) -> Kind:
        """Create an item, or change these fields of it. Raises ToolError in one sentence and changes nothing."""
        return self.edit(kind, id, lambda _: fields)

    def edit(self, kind: type[Kind], id: str, change: Callable[[Kind | None], Mapping[str, object]]) -> Kind:
        """The same where the new fields follow from the item as it is, None: there is none."""
        with self._lock:
            old = self._items.get(id)
            if old is not None and not isinstance(old, kind):
                raise ToolError(f"{id!r} is a {old.kind}: use another id.")
            if old is None and len(self._items) >= MAX_ITEMS:
                raise ToolError(f"the panel is full: {MAX_ITEMS} things are on it; take one away first.")
            fields = {name: getattr(old, name) for name in kind.model_fields} if old is not None else {}
            item = checked(kind, **fields | dict(change(old)) | {"id": id})
            self._items[id] = item
            self._changed.add(id)
            return item

    def get(self, id: str) -> Item | None:
        """The item of this id, None when there is none."""
        with self._lock:
            return self._items.get(id)

    def restore(self, id: str, item: Item | None) -> None:
        """Have this stand under the id, None: nothing."""
        with self._lock:
            if item is None:
                self._items.pop(id, None)
            else:
                self._items[id] = item
            self._changed.add(id)

    def remove(self, id: str) -> None:
        """Take an item away. Raises ToolError when there is none of that id."""
        with self._lock:
            if id not in self._items:
                raise ToolError(f"there is nothing called {id!r} here; there is {', '.join(self._items) or 'nothing'}.")
            del self._items[id]
            self._changed.add(id)

    def collect(self, turn: int) -> list[Change]:
        """What has changed since the last time, as of `turn`; a new timer starts in it."""
        with self._lock:
            self.turn = turn
            for id, item in self._items.items():
                if isinstance(item, Timer) and item.started is None:
                    self._items[id] = item.model_copy(update={"started": turn})
            gone = [id for id in self._changed if id not in self._items]
            there = [item for id, item in self._items.items() if id in self._changed]
            self._changed.clear()
        return [*(Change(turn=turn, remove=id) for id in sorted(gone)), *(Change(turn=turn, put=i) for i in there)]


def describe(item: Item, turn: int) -> str:
    """An item in words, for those who cannot see it."""
    name = item.title or item.id
    if isinstance(item, Chart):
        unit = f" {item.unit}" if item.unit else ""
        points = ", ".join(f"{label} {value:g}{unit}" for label, value in zip(item.labels, item.values, strict=True))
        return f"Chart {name}: {points or 'nothing yet'}."
    if isinstance(item, Table):
        return f"Table {name}: {len(item.rows)} rows of {', '.join(item.columns)}."
    if isinstance(item, Timer):
        left = seconds_left(item, turn)
        return f"Timer {name}: {f'{left:.0f} s left' if left else 'over'}."
    done = sum(entry.done for entry in item.entries)
    return f"Checklist {name}: {done} of {len(item.entries)} done."
