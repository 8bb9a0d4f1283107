"""A background agent: tools that run beside the conversation, stream partial results, and can be called off.

    agent = BackgroundAgent()
    call = agent.call("calculator", "2 + 3 * 4", turn=21)     returns at once, in any thread
    agent.poll()                                              what has come back since the last poll; never waits
    agent.cancel(call)

A turn must be done within 0.2 s, so it never waits for a tool: it polls at its start and takes what is there.
The tools live on an asyncio loop in a thread of their own.

The first nano was not trained to delegate: it does not emit `<delegate>` or `<tool>` by itself, nor was it
shown results. This is the interface that such a model will use; until then a program makes the calls.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from tml_lab.background.calculator import Calculator, ToolError
from tml_lab.background.context import OpenCall

log = logging.getLogger(__name__)

Status = Literal["partial", "done", "failed", "cancelled"]


class Tool(Protocol):
    """What the agent can run. A tool awaits between its steps, or it holds up all other tools."""

    name: str

    def stream(self, request: str) -> AsyncGenerator[str, None]:
        """Partial results; the last item is the result. Raises ToolError in one sentence."""
        ...


@runtime_checkable
class InformedTool(Tool, Protocol):
    """A tool that is told the conversation so far."""

    def knowing(self, context: Callable[[], str]) -> Tool:
        """The same tool for one call; `context` makes a `ContextPackage` as JSON, and takes a while."""
        ...


@dataclass(frozen=True)
class Update:
    """News of one call.

    Args:
        status: `partial` for each item as it comes; then one of the others, once, as the call's last update.
        text: a partial result, the result (the last item again), or one sentence on why there is none.
    """

    call: int
    status: Status
    text: str


class BackgroundAgent:
    """Runs tools on a thread of its own.

    Args:
        tools: what can be called; None: the calculator.
    """

    def __init__(self, tools: Sequence[Tool] | None = None) -> None:
        self.tools = {tool.name: tool for tool in ([Calculator()] if tools is None else tools)}
        self._updates: queue.SimpleQueue[Update] = queue.SimpleQueue()
        self._ids = itertools.count()
        self._open: dict[int, OpenCall] = {}
        self._tasks: dict[int, asyncio.Task[str]] = {}  # touched on the loop's thread alone
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tml-background", daemon=True)
        self._thread.start()

    def __enter__(self) -> BackgroundAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, tool: str, request: str, turn: int, context: Callable[[], str] | None = None) -> int:
        """Start a call and return its id at once. Raises ToolError for a tool there is not.

        Args:
            context: gives the conversation so far, for an `InformedTool`; called in a thread of the agent's.
        """
        if self._closed:
            raise ToolError("this agent is closed: make a new one.")
        if tool not in self.tools:
            raise ToolError(f"there is no tool called {tool!r}; there are {', '.join(self.tools)}.")
        call, asked = next(self._ids), self.tools[tool]
        if context is not None and isinstance(asked, InformedTool):
            asked = asked.knowing(context)
        with self._lock:
            self._open[call] = OpenCall(id=call, tool=tool, request=request, turn=turn)
        self._loop.call_soon_threadsafe(self._start, call, asked, request)
        return call

    def cancel(self, call: int) -> bool:
        """Ask to call one off; whether it was still open. Its last update tells how it ended."""
        with self._lock:
            still_open = call in self._open
        if still_open:
            self._loop.call_soon_threadsafe(self._cancel, call)
        return still_open

    def open_calls(self) -> tuple[OpenCall, ...]:
        """What has been asked and not answered yet, with the partial results so far."""
        with self._lock:
            return tuple(self._open.values())

    def poll(self, patience: float = 0.0) -> list[Update]:
        """All updates since the last poll, oldest first.

        Args:
            patience: seconds to wait for the first one. A turn leaves it at 0 and never waits.
        """
        found = []
        try:
            found.append(self._updates.get(timeout=patience) if patience else self._updates.get_nowait())
            while True:
                found.append(self._updates.get_nowait())
        except queue.Empty:
            return found

    def close(self) -> None:
        """Call everything off and end the thread; doing it twice is no error."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _start(self, call: int, tool: Tool, request: str) -> None:
        self._tasks[call] = self._loop.create_task(self._run(call, tool, request))
        # a task called off before its first step never runs, but its callback does
        self._tasks[call].add_done_callback(lambda task: self._ended(call, tool, task))

    def _cancel(self, call: int) -> None:
        if call in self._tasks:
            self._tasks[call].cancel()

    async def _run(self, call: int, tool: Tool, request: str) -> str:
        last: str | None = None
        async with aclosing(tool.stream(request)) as items:
            async for last in items:
                with self._lock:
                    before = self._open[call]
                    self._open[call] = before.model_copy(update={"partial": (*before.partial, last)})
                self._updates.put(Update(call, "partial", last))
        if last is None:
            raise ToolError(f"{tool.name} gave no result.")
        return last

    def _ended(self, call: int, tool: Tool, task: asyncio.Task[str]) -> None:
        if task.cancelled():
            update = Update(call, "cancelled", "called off.")
        elif (error := task.exception()) is None:
            update = Update(call, "done", task.result())
        elif isinstance(error, ToolError):
            update = Update(call, "failed", str(error))
        else:  # a tool's fault must not end the agent
            log.error("tool %s failed", tool.name, exc_info=error)
            update = Update(call, "failed", f"{tool.name} failed: {error}")
        self._tasks.pop(call)
        with self._lock:  # who sees that a call is not open any more can poll its end
            self._open.pop(call)
            self._updates.put(update)
