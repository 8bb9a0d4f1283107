"""A real server on this machine's loopback, and a way between it and a client that can be broken at any byte."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from tml_lab.serve.app import create_app
from tml_lab.serve.fault_proxy import FaultProxy
from tml_lab.serve.faults import FaultPlan
from tml_lab.serve.gate import Settings
from tml_lab.serve.launch import bind, uvicorn_config

_running: dict[str, uvicorn.Server] = {}


@contextmanager
def served(sessions: Any, settings: Settings | None = None, **more: Any) -> Iterator[str]:
    """Serve `sessions` by uvicorn in a thread; gives the address, ws://127.0.0.1:PORT."""
    listener = bind("127.0.0.1", 0)
    settings = settings or Settings()
    server = uvicorn.Server(uvicorn_config(create_app(sessions, settings, **more), settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="loopback", daemon=True)
    thread.start()
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    _running[url] = server
    try:
        yield url
    finally:
        del _running[url]
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


def at_work(url: str) -> int:
    """Connections and tasks of the server there, right now."""
    state = _running[url].server_state
    return len(state.connections) + len(state.tasks)


@contextmanager
def spoiled(url: str, plan: FaultPlan) -> Iterator[tuple[str, FaultProxy]]:
    """The same server, by a line that a plan spoils; gives the line's address, and the proxy."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="weather", daemon=True)
    thread.start()
    proxy = FaultProxy(plan, "127.0.0.1", int(url.rsplit(":", 1)[1]))

    def run(action: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(action, loop).result(30)

    run(proxy.__aenter__())
    try:
        yield f"ws://127.0.0.1:{proxy.port}", proxy
    finally:
        run(proxy.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


class Way:
    """A TCP proxy; `cut(up, down)` makes the next connection end after so many bytes in one direction.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.port, self.connections = port, 0
        self._cuts: list[tuple[float, float]] = []
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="way", daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def cut(self, up: float = float("inf"), down: float = float("inf")) -> None:
        """The next connection breaks after `up` bytes to the server, or `down` bytes back."""
        self._cuts.append((up, down))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up, down = self._cuts.pop(0) if self._cuts else (float("inf"), float("inf"))
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        ways = [
            asyncio.create_task(_carry(reader, far_writer, up)), asyncio.create_task(_carry(far_reader, writer, down))
        ]  # fmt: skip
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in ways:
            task.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, far_writer):
            end.transport.abort()  # as a network does it: without a word


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: float) -> None:
    with suppress(OSError):
        while most > 0 and (data := await reader.read(1 << 14)):
            data = data[: int(min(most, len(data)))]
            writer.write(data)
            await writer.drain()
            most -= len(data)


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds that another thread brings about."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError(f"it does not hold after {seconds} s")
