"""The proxy passes every byte on, in order, no earlier than its plan allows. Its clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.loopback import served, spoiled
from tests.serve.scene import PATIENCE, assert_same, chunk, step_alone
from tml_lab.serve import back_off
from tml_lab.serve.contract import Reply
from tml_lab.serve.engine import Engine
from tml_lab.serve.fault_proxy import FaultProxy, Weather, check_plan
from tml_lab.serve.faults import Cut, Delay, FaultPlan, Freeze, Loss, Stall
from tml_lab.serve.limits import Limits
from tml_lab.serve.session import Session as AnySession
from tml_lab.stream.session import Session


class FakeClock:
    """Seconds that pass only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
        await writer.drain()
    writer.close()


def through(plan: FaultPlan, talk: Callable[..., Awaitable[None]], clock: FakeClock | None = None) -> None:
    """Let `talk(reader, writer)` speak through the proxy with a server that says everything back."""

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        own = {"clock": clock, "sleep": clock.sleep} if clock else {}
        async with server, FaultProxy(plan, "127.0.0.1", port, **own) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await asyncio.wait_for(talk(reader, writer), 20)
            writer.close()

    asyncio.run(run())


def test_all_bytes_go_through_in_order():
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytes(range(256)) * 4000  # one megabyte, in both directions at once
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent

    clock = FakeClock()
    through(FaultPlan(faults=(Delay(share=0.5, low=0.1, high=0.3),)), talk, clock)
    assert len(clock.slept) > 3


def test_a_stall_holds_what_comes_in_it_until_its_end():
    clock = FakeClock()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for word in (b"one", b"two"):
            writer.write(word)
            assert await reader.readexactly(3) == word
            clock.now += 1.5
        assert clock.now == pytest.approx(5.5 + 1.5)

    through(FaultPlan(faults=(Stall(at=1.0, seconds=4.5),)), talk, clock)
    assert clock.slept == [pytest.approx(4.0)]  # "two" came at 1.5 s


def test_after_a_cut_the_connection_is_closed():
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(10) == b""

    through(FaultPlan(faults=(Cut(at=0.0),)), talk, FakeClock())


def test_a_server_that_is_not_there_closes_the_connection():
    async def run() -> None:
        async with FaultProxy(FaultPlan(), "127.0.0.1", 1) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            assert await asyncio.wait_for(reader.read(10), 20) == b""
            writer.close()

    asyncio.run(run())


def test_the_weather_keeps_the_order_and_is_the_same_again():
    plan = FaultPlan(seed=3, faults=(Delay(share=0.4), Stall(at=5.0, seconds=2.0), Cut(at=9.0)))
    one, again, other = (
        [weather.goes_on(0.2 * n) for n in range(60)]
        for weather in (Weather(plan, 0, 0), Weather(plan, 0, 0), Weather(plan, 1, 0))
    )
    passed = [at for at in one if at is not None]
    assert one == again and one != other
    assert passed == sorted(passed) and len(passed) < 46 and not any(5.0 <= at < 7.0 for at in passed)


def test_what_cannot_befall_a_connection_is_named():
    with pytest.raises(ValueError, match="knows no 'loss'"):
        check_plan(FaultPlan(faults=(Loss(share=0.1),)))


LINES = {
    "late": FaultPlan(seed=1, faults=(Delay(share=0.4, low=0.01, high=0.06),)),
    "stands still": FaultPlan(faults=(Stall(at=0.02, seconds=0.4), Freeze(at=0.45, seconds=0.3))),
    "breaks, again and again": FaultPlan(seed=2, faults=(Delay(share=0.2, low=0.01, high=0.03), Cut(at=0.4))),
}


@pytest.mark.parametrize("plan", LINES.values(), ids=LINES)
def test_a_session_by_a_spoiled_line_has_the_turns_of_one_by_a_good_line(plan, model, tokenizer, monkeypatch):
    """Server, socket and client together: nothing is lost, nothing is run twice, every turn is to the bit as alone."""
    monkeypatch.setattr(back_off, "MOST", 0.05)
    learners, turns = 2, 30
    found: dict[int, list[Reply]] = {who: [] for who in range(learners)}

    def learn(who: int, url: str) -> None:
        with AnySession.connect(url, seed=who, patience=PATIENCE) as session:
            for n in range(0, turns, 3):  # three at a time are on their way
                given = [chunk(k, who) for k in range(n, n + 3)]
                replies = [session.append(one.audio, one.frames, one.text) for one in given]
                found[who] += [reply.result(PATIENCE) for reply in replies]

    with (
        Engine(model, tokenizer, limits=Limits(shed=False)) as engine,
        served(engine) as straight,
        spoiled(straight, plan) as (url, proxy),
        ThreadPoolExecutor(learners) as pool,
    ):
        for learner in [pool.submit(learn, who, url) for who in range(learners)]:
            learner.result(PATIENCE)
        cut = any(isinstance(fault, Cut) for fault in plan.faults)
        assert proxy.connections > 2 * learners if cut else proxy.connections >= learners
        assert engine.stats().since.turns == learners * turns and engine.stats().since.gaps == 0
    for who, replies in found.items():
        alone = Session(model, tokenizer, seed=who)
        for n, reply in enumerate(replies):
            assert reply.seq == n and not reply.gaps
            assert_same(reply.turn, step_alone(alone, chunk(n, who)))
