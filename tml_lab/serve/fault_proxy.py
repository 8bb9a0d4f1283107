"""A proxy that spoils a connection by a plan: bytes are held up, stand still or stop; what they say it knows not.

    async with FaultProxy(FaultPlan(faults=(Stall(at=4.0, seconds=3.0), Cut(at=60.0))), "127.0.0.1", 8000) as proxy:
        ...                                      talk to proxy.port in place of 8000

On a connection nothing is lost, doubled or reordered as long as it stands: such faults are refused, and belong to a
stream of chunks (`FaultPlan.arrivals`). Each connection has its own draws and its own second 0.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType

import numpy as np

from tml_lab.serve.faults import Cut, Delay, FaultPlan, Freeze, Stall

PIECE = 65_536  # bytes read at once
Both = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def check_plan(plan: FaultPlan) -> None:
    """Raises ValueError, naming it, for a fault that cannot befall a connection's bytes."""
    for fault in plan.faults:
        if not isinstance(fault, Delay | Stall | Freeze | Cut):
            raise ValueError(f"a connection knows no {fault.kind!r}: give delay, stall, freeze or cut.")


class Weather:
    """When a piece of bytes that is there at a second may go on: one direction of one connection."""

    def __init__(self, plan: FaultPlan, connection: int, direction: int) -> None:
        self.plan = plan
        self._rngs = [np.random.default_rng([plan.seed, i, connection, direction]) for i in range(len(plan.faults))]
        self._free = 0.0  # the piece before goes on then

    def goes_on(self, now: float) -> float | None:
        """The second at which it goes on, after all that came before it; None: it does not."""
        at = max(now, self._free)
        for fault, rng in zip(self.plan.faults, self._rngs, strict=True):
            if isinstance(fault, Delay) and rng.uniform() < fault.share:
                at = max(at, now + float(rng.uniform(fault.low, fault.high)))
            elif isinstance(fault, Stall | Freeze) and fault.at <= at < fault.at + fault.seconds:
                at = fault.at + fault.seconds
        self._free = at
        cuts = [fault.at for fault in self.plan.faults if isinstance(fault, Cut)]
        return at if at < min(cuts, default=np.inf) else None

    @property
    def cut(self) -> float | None:
        """The second at which the connection is closed, if it is."""
        return min((fault.at for fault in self.plan.faults if isinstance(fault, Cut)), default=None)


class FaultProxy:
    """Listens on a port of its own and passes bytes on, both ways, as the plan allows.

    Args:
        plan: delays (of a share of the pieces read), stalls (a freeze is one here) and cuts.
        host, port: where to pass them on to.
        clock, sleep: seconds, and a way to wait for some; tests give their own.

    Raises ValueError for a plan with faults that a connection cannot have.
    """

    def __init__(
        self, plan: FaultPlan, host: str, port: int,
        clock: Callable[[], float] | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        check_plan(plan)
        self.plan, self.host, self.target = plan, host, port
        self._clock, self._sleep = clock, sleep
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.connections = 0

    @property
    def port(self) -> int:
        """Where it listens. Raises RuntimeError before it does."""
        if self._server is None:
            raise RuntimeError("the proxy does not listen yet: use it in an `async with`.")
        return self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> FaultProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        number, self.connections = self.connections, self.connections + 1
        try:
            await self._serve(number, (reader, writer))
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, number: int, near: Both) -> None:
        clock = self._clock or asyncio.get_running_loop().time
        began = clock()
        try:
            far = await asyncio.open_connection(self.host, self.target)
        except OSError:
            return  # nobody there: the caller sees its connection close
        weathers = Weather(self.plan, number, 0), Weather(self.plan, number, 1)
        ways = [
            asyncio.ensure_future(self._pass_on(near[0], far[1], weathers[0], clock, began)),
            asyncio.ensure_future(self._pass_on(far[0], near[1], weathers[1], clock, began)),
        ]
        if (cut := weathers[0].cut) is not None:
            ways.append(asyncio.ensure_future(self._sleep(max(0.0, began + cut - clock()))))
        try:  # the first end, or the cut, ends both ways
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far[1].close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: Weather,
        clock: Callable[[], float], began: float,
    ) -> None:  # fmt: skip
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                at = weather.goes_on(clock() - began)
                if at is None:
                    return
                if (wait := began + at - clock()) > 0:
                    await self._sleep(wait)
                writer.write(piece)
                await writer.drain()
