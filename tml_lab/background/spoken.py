"""Tools as the model asks for them, in words: a sum, a unit, the clock, the course's text, what is drawn on the panel.

What comes back is short, because it will be read out: a number, or `done`. Arguments are checked before anything is
done with them.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable

from pydantic import BaseModel, Field

from tml_lab.background.arguments import checked
from tml_lab.background.calculator import Calculator, ToolError
from tml_lab.background.panel import Board
from tml_lab.background.panel_tools import PanelTool, panel_tools
from tml_lab.background.search import Search
from tml_lab.background.spoken_numbers import number_of

_SIGNS = {"plus": "+", "minus": "-", "times": "*", "divided by": "/", "over": "/"}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


class SpokenCalculator(Calculator):
    """`twelve times fourteen` -> 168; written arithmetic is taken as well."""

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """The result alone. Raises ToolError in one sentence."""
        if re.search(r"[a-z]", request):
            parts = re.split(rf"\b({'|'.join(_SIGNS)})\b", request)  # number, sign, number, ...
            request = " ".join(_SIGNS.get(part) or str(number_of(part)) for part in parts)
        steps = super().stream(request)
        *_, result = [step async for step in steps]  # the steps are not read out
        yield result


class Conversion(BaseModel):
    """`n` units of `source` in units of `target`."""

    n: int = Field(ge=0, le=999)
    source: str
    target: str


class Converter:
    """`three hours to minutes` -> 180: seconds, minutes, hours, days, weeks."""

    name = "convert"

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """The amount. Raises ToolError for a unit there is not, or a result that is no whole number."""
        match = re.fullmatch(r"(.+) (\w+?)s? (?:to|in) (\w+?)s?", request.strip())
        if match is None:
            raise ToolError(f"{request!r} is no conversion: say, for instance, three hours to minutes.")
        asked = checked(Conversion, n=number_of(match[1]), source=match[2], target=match[3])
        for unit in (asked.source, asked.target):
            if unit not in SECONDS:
                raise ToolError(f"{unit!r} is no unit of time here: {', '.join(SECONDS)} are.")
        amount, rest = divmod(asked.n * SECONDS[asked.source], SECONDS[asked.target])
        if rest:
            raise ToolError(f"{asked.n} {asked.source}s are no whole number of {asked.target}s.")
        yield str(amount)


class Clock:
    """The time of day, on a clock of twelve hours: `10 25`."""

    name = "clock"

    def __init__(self, now: Callable[[], time.struct_time] = time.localtime) -> None:
        self.now = now

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """The time, for no arguments. Raises ToolError when there are any."""
        if request.strip():
            raise ToolError(f"the clock takes no arguments, got {request!r}.")
        t = self.now()
        yield f"{(t.tm_hour - 1) % 12 + 1} {t.tm_min}" if t.tm_min else f"{(t.tm_hour - 1) % 12 + 1}"


def spoken_tools(board: Board | None = None) -> list[SpokenCalculator | Converter | Clock | Search | PanelTool]:
    """One of each; those that draw write on `board`."""
    board = board or Board()
    return [SpokenCalculator(), Converter(), Clock(), Search(board), *panel_tools(board)]
