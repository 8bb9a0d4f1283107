"""Tools as the model asks for them, in words: a sum, a unit, the clock, a list, a timer.

What comes back is short, because it will be read out: a number, or `done`. Arguments are checked before anything is
done with them.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from tml_lab.background.calculator import Calculator, ToolError
from tml_lab.model.text import number_words

T = TypeVar("T", bound=BaseModel)
DONE = "done"
_VALUE = {number_words(n): n for n in range(1000)}
_SIGNS = {"plus": "+", "minus": "-", "times": "*", "divided by": "/", "over": "/"}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


def number_of(words: str) -> int:
    """`"one hundred sixty eight"` -> 168, for 0..999. Raises ToolError naming what is no number."""
    value = _VALUE.get(" ".join(words.split()))
    if value is None and words.strip().isdigit():
        value = int(words)
    if value is None:
        raise ToolError(f"{words!r} is no number: say one from zero to nine hundred ninety nine.")
    return value


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


class Entry(BaseModel):
    """Something to be kept on a list."""

    thing: str = Field(min_length=1, max_length=60)


@dataclass
class Checklist:
    """`add bread`, `show`, `clear`. `items` may be read at any time, from any thread."""

    name: str = "list"
    items: list[str] = field(default_factory=list)
    longest: int = 100

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """`done`, or what is on it. Raises ToolError for another verb, nothing to add, or a full list."""
        verb, _, thing = request.strip().partition(" ")
        if verb == "add":
            entry = checked(Entry, thing=thing.strip())
            if len(self.items) >= self.longest:
                raise ToolError(f"the list is full: {self.longest} things are on it.")
            self.items.append(entry.thing)
            yield DONE
        elif verb == "clear":
            self.items.clear()
            yield DONE
        elif verb == "show":
            yield " ".join(self.items) or "nothing"
        else:
            raise ToolError(f"a list can add, show and clear; {verb!r} it cannot.")


class Minutes(BaseModel):
    """How long a timer runs."""

    n: int = Field(ge=1, le=180)


class Timer:
    """`five minutes` starts one; `ends` holds when each is over, in seconds of `clock`."""

    name = "timer"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.ends: list[float] = []
        self._lock = threading.Lock()

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        """`done`. Raises ToolError for another unit, or a time that is too long."""
        match = re.fullmatch(r"(.+) minutes?", request.strip())
        if match is None:
            raise ToolError(f"{request!r} is no time for a timer: say, for instance, five minutes.")
        asked = checked(Minutes, n=number_of(match[1]))
        with self._lock:
            self.ends.append(self.clock() + 60.0 * asked.n)
        yield DONE

    def left(self) -> list[float]:
        """Seconds that each timer still runs, those that are over left out."""
        now = self.clock()
        with self._lock:
            self.ends = [end for end in self.ends if end > now]
            return [end - now for end in self.ends]


def checked(kind: type[T], **arguments: object) -> T:
    """The arguments as pydantic takes them. Raises ToolError in one sentence."""
    try:
        return kind(**arguments)
    except ValidationError as error:
        first = error.errors()[0]
        raise ToolError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def spoken_tools() -> list[SpokenCalculator | Converter | Clock | Checklist | Timer]:
    """One of each."""
    return [SpokenCalculator(), Converter(), Clock(), Checklist(), Timer()]
