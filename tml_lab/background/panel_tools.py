"""Tools that draw beside the conversation: `chart`, `table`, `timer`, `list` and `remove`.

Each takes words, as the interaction model asks (`list add bread`, `timer five minutes`, `chart bread three milk five`),
or a JSON object, as a larger model calls tools; `arguments` is what the object may hold. Fields that are left out stay
as they were. What comes back is `done`, or one sentence on what is wrong with the arguments.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from tml_lab.background.arguments import Plain, checked, checked_json
from tml_lab.background.calculator import ToolError
from tml_lab.background.panel import (
    MAX_TIMER,
    Board,
    Chart,
    Checklist,
    Entry,
    Item,
    Name,
    Row,
    Table,
    Text,
    Timer,
    seconds_left,
)
from tml_lab.background.spoken_numbers import number_of

DONE = "done"
_UNITS = {"second": 1, "minute": 60}


class PanelTool:
    """A tool of one board. `spoken` reads words into arguments, `run` does what they say and tells the result."""

    name: str
    arguments: type[BaseModel]

    def __init__(self, board: Board | None = None) -> None:
        self.board = board or Board()

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """`done`, or what was asked for. Raises ToolError in one sentence, and then nothing has changed."""
        as_json = request.lstrip().startswith("{")
        yield self.run(checked_json(self.arguments, request) if as_json else self.spoken(" ".join(request.split())))

    def spoken(self, words: str) -> Any:
        """Words -> an object of `arguments`. Raises ToolError."""
        raise NotImplementedError

    def run(self, asked: Any) -> str:
        """Change the board. Raises ToolError."""
        raise NotImplementedError

    def partial(self, given: dict[str, Any]) -> dict[str, Any]:
        """Of arguments that are still being written, those that can be drawn already; by default none."""
        return {}


class ChartArguments(Plain):
    """Numbers to be drawn; `add`: after the points that are there, else instead of them."""

    id: Name = "chart"
    title: Text | None = None
    labels: tuple[Text, ...] | None = None
    values: tuple[float, ...] | None = None
    unit: Text | None = None
    shape: Literal["bars", "line"] | None = None
    add: bool = False


class DrawChart(PanelTool):
    """Draw a chart beside the conversation, or change it: a label and a number for each bar or point."""

    name, arguments = "chart", ChartArguments

    def spoken(self, words: str) -> ChartArguments:
        """`bread three milk five` -> two bars."""
        pairs = pairs_of(words)
        return checked(ChartArguments, labels=[label for label, _ in pairs], values=[float(n) for _, n in pairs])

    def partial(self, given: dict[str, Any]) -> dict[str, Any]:
        """As many points as have a label and a value."""
        points = min(len(given.get("labels", ())), len(given.get("values", ())))
        if not points or given.get("add"):
            return {}
        return given | {"labels": given["labels"][:points], "values": given["values"][:points]}

    def run(self, asked: ChartArguments) -> str:
        """Create it or change it."""
        self.board.edit(Chart, asked.id, lambda old: _given(asked, old, "labels", "values"))
        return DONE


class TableArguments(Plain):
    """Rows to be shown; `add`: below those that are there, else instead of them."""

    id: Name = "table"
    title: Text | None = None
    columns: Row | None = None
    rows: tuple[Row, ...] | None = None
    add: bool = False


class DrawTable(PanelTool):
    """Show a table beside the conversation, or change it. A new one needs the names of its columns."""

    name, arguments = "table", TableArguments

    def spoken(self, words: str) -> TableArguments:
        """`bread three milk five` -> two rows."""
        rows = [(label, str(n)) for label, n in pairs_of(words)]
        return checked(TableArguments, columns=("what", "how many"), rows=rows)

    def partial(self, given: dict[str, Any]) -> dict[str, Any]:
        """The rows that are whole."""
        width = len(given.get("columns", ()))
        rows = [row for row in given.get("rows", ()) if len(row) == width]
        return given | {"rows": rows} if rows and not given.get("add") else {}

    def run(self, asked: TableArguments) -> str:
        """Create it or change it."""
        self.board.edit(Table, asked.id, lambda old: _given(asked, old, "rows"))
        return DONE


class TimerArguments(Plain):
    """How long a timer runs, in seconds; it starts now, and starts again when there is one of this id."""

    id: Name = "timer"
    title: Text | None = None
    seconds: float = Field(gt=0, le=MAX_TIMER)


class Minutes(BaseModel):
    """How long a timer runs, as it is said."""

    n: int = Field(ge=1, le=180)


class StartTimer(PanelTool):
    """Start a timer beside the conversation."""

    name, arguments = "timer", TimerArguments

    def spoken(self, words: str) -> TimerArguments:
        """`five minutes`: one more timer, in the place of one that is over where there is one."""
        match = re.fullmatch(r"(.+) (second|minute)s?", words)
        if match is None:
            raise ToolError(f"{words!r} is no time for a timer: say, for instance, five minutes.")
        asked = checked(Minutes, n=number_of(match[1]))
        title = f"{asked.n} {match[2]}{'s' if asked.n > 1 else ''}"
        return TimerArguments(id=self._free(), title=title, seconds=asked.n * _UNITS[match[2]])

    def run(self, asked: TimerArguments) -> str:
        """Start it."""
        self.board.edit(Timer, asked.id, lambda old: _given(asked, old) | {"started": None})
        return DONE

    def _free(self) -> str:
        taken = {
            item.id: isinstance(item, Timer) and item.started is not None and not seconds_left(item, self.board.turn)
            for item in self.board.items
        }
        return next(f"timer {n}" for n in range(1, len(taken) + 2) if taken.get(f"timer {n}", True))


class ListArguments(Plain):
    """Entries for a checklist; `add`: after those that are there, else instead of them. `tick`: these are done."""

    id: Name = "list"
    title: Text | None = None
    entries: tuple[Entry, ...] | None = None
    add: bool = False
    tick: tuple[str, ...] = ()


class KeepList(PanelTool):
    """Keep a checklist beside the conversation: write entries on it, or tick them off."""

    name, arguments = "list", ListArguments

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """Besides: `show` gives the entries that are not done, `nothing` when there are none."""
        if request.strip() == "show":
            shown = next((item for item in self.board.items if item.id == "list"), None)
            entries = shown.entries if isinstance(shown, Checklist) else ()
            yield " ".join(entry.text for entry in entries if not entry.done) or "nothing"
            return
        async for item in super().stream(request):
            yield item

    def spoken(self, words: str) -> ListArguments:
        """`add bread`, `tick bread`, `clear`."""
        verb, _, thing = words.partition(" ")
        if verb == "add":
            return ListArguments(entries=(checked(Entry, text=thing),), add=True)
        if verb == "tick":
            return ListArguments(tick=(thing,))
        if verb == "clear":
            return ListArguments(entries=())
        raise ToolError(f"a list can add, tick, show and clear; {verb!r} it cannot.")

    def run(self, asked: ListArguments) -> str:
        """Create it or change it."""

        def change(old: Checklist | None) -> dict[str, Any]:
            fields = _given(asked, old, "entries")
            entries = fields.get("entries", old.entries if old is not None else ())
            if missing := [name for name in asked.tick if name not in [entry.text for entry in entries]]:
                raise ToolError(f"{missing[0]!r} is not on the list.")
            ticked = [Entry(text=e.text, done=e.done or e.text in asked.tick) for e in entries]
            return fields | {"entries": tuple(ticked)}

        self.board.edit(Checklist, asked.id, change)
        return DONE


class RemoveArguments(Plain):
    """Which chart, table, timer or checklist to take away."""

    id: Name


class Remove(PanelTool):
    """Take a chart, table, timer or checklist away by its id."""

    name, arguments = "remove", RemoveArguments

    def spoken(self, words: str) -> RemoveArguments:
        """`timer one`: numbers as they are said."""
        name, _, number = words.rpartition(" ")
        return checked(RemoveArguments, id=f"{name} {number_of(number)}" if name else words)

    def run(self, asked: RemoveArguments) -> str:
        """Take it away."""
        self.board.remove(asked.id)
        return DONE


def panel_tools(board: Board) -> list[PanelTool]:
    """One of each, for one board."""
    return [KeepList(board), StartTimer(board), DrawChart(board), DrawTable(board), Remove(board)]


def pairs_of(words: str) -> list[tuple[str, int]]:
    """`"bread twenty three milk five"` -> `[("bread", 23), ("milk", 5)]`. Raises ToolError."""
    pairs: list[tuple[str, int]] = []
    label: list[str] = []
    number: list[str] = []
    for word in [*words.split(), ""]:  # the empty word ends the last number
        if word and label and _is_number([*number, word]):
            number.append(word)
            continue
        if number:
            pairs.append((" ".join(label), number_of(" ".join(number))))
            label, number = [], []
        label += [word] if word else []
    if label or not pairs:
        raise ToolError(f"{words!r} does not pair names with numbers: say, for instance, bread three milk five.")
    return pairs


def _is_number(words: Sequence[str]) -> bool:
    try:
        return number_of(" ".join(words)) >= 0
    except ToolError:
        return False


def _given(asked: BaseModel, old: Item | None, *lists: str) -> dict[str, Any]:
    """The fields that were given; those in `lists` after the old ones, if that is asked."""
    fields = {name: value for name, value in asked if value is not None and name not in ("add", "tick")}
    if getattr(asked, "add", False) and old is not None:
        fields |= {name: (*getattr(old, name), *fields[name]) for name in lists if name in fields}
    return fields
