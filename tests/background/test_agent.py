"""The agent streams partial results, can be called off, and never makes its caller wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from tml_lab.background.agent import BackgroundAgent, Update
from tml_lab.background.calculator import ToolError

PATIENCE = 30.0  # seconds a test waits for news that must come


class Gate:
    """A tool that gives `half`, waits until it is let through, and then gives `whole`."""

    name = "gate"

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.left = threading.Event()

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        try:
            yield f"half of {request}"
            await self.open.wait()
            yield f"whole {request}"
        finally:
            self.left.set()


class Faulty:
    name = "faulty"

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        if request == "nothing":
            return
        yield "so far so good"
        raise RuntimeError("out of paper")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def agent(gate: Gate) -> Iterator[BackgroundAgent]:
    from tml_lab.background.calculator import Calculator

    with BackgroundAgent([Calculator(), gate, Faulty()]) as agent:
        yield agent


def updates(agent: BackgroundAgent, until: str) -> list[Update]:
    """Everything up to the first update of that status."""
    found: list[Update] = []
    while not any(update.status == until for update in found):
        news = agent.poll(PATIENCE)
        assert news, f"no {until} update came; so far: {found}"
        found += news
    return found


def test_a_sum_arrives_step_by_step() -> None:
    with BackgroundAgent() as agent:
        call = agent.call("calculator", "2 + 3 * 4", turn=7)
        found = updates(agent, "done")
    assert found == [
        Update(call, "partial", "3 * 4 = 12"),
        Update(call, "partial", "2 + 12 = 14"),
        Update(call, "partial", "14"),
        Update(call, "done", "14"),
    ]


def test_partial_results_come_while_the_tool_still_works(agent: BackgroundAgent, gate: Gate) -> None:
    assert agent.poll() == []
    call = agent.call("gate", "it", turn=4)
    assert updates(agent, "partial") == [Update(call, "partial", "half of it")]
    (still,) = agent.open_calls()
    assert (still.id, still.tool, still.request, still.turn) == (call, "gate", "it", 4)
    assert still.partial == ("half of it",)
    agent._loop.call_soon_threadsafe(gate.open.set)
    assert updates(agent, "done")[-1] == Update(call, "done", "whole it")
    assert agent.open_calls() == ()


def test_a_stuck_tool_holds_up_neither_the_caller_nor_other_tools(agent: BackgroundAgent) -> None:
    stuck = agent.call("gate", "it", turn=0)
    quick = agent.call("calculator", "1 + 1", turn=0)
    assert updates(agent, "done")[-1] == Update(quick, "done", "2")
    assert [call.id for call in agent.open_calls()] == [stuck]
    assert agent.poll() == []  # returns although the stuck call never ends


def test_a_call_is_called_off_and_the_tool_cleans_up(agent: BackgroundAgent, gate: Gate) -> None:
    call = agent.call("gate", "it", turn=0)
    updates(agent, "partial")
    assert agent.cancel(call)
    assert updates(agent, "cancelled") == [Update(call, "cancelled", "called off.")]
    assert gate.left.is_set() and agent.open_calls() == ()
    assert not agent.cancel(call)


def test_a_call_is_called_off_before_its_first_step(agent: BackgroundAgent) -> None:
    go = threading.Event()
    agent._loop.call_soon_threadsafe(go.wait, PATIENCE)  # the loop is held, so that neither has begun
    call = agent.call("gate", "it", turn=0)
    assert agent.cancel(call)
    go.set()
    assert updates(agent, "cancelled") == [Update(call, "cancelled", "called off.")]
    assert agent.open_calls() == ()


def test_failures_are_one_sentence_and_the_agent_lives_on(agent: BackgroundAgent) -> None:
    for tool, request, says in [
        ("faulty", "page", "faulty failed: out of paper"),
        ("faulty", "nothing", "faulty gave no result."),
        ("calculator", "1 / 0", "1 / 0 divides by zero."),
    ]:
        call = agent.call(tool, request, turn=0)
        assert updates(agent, "failed")[-1] == Update(call, "failed", says)
    agent.call("calculator", "1", turn=0)
    assert updates(agent, "done")


def test_unknown_tools_and_closed_agents(agent: BackgroundAgent) -> None:
    with pytest.raises(ToolError, match="no tool called 'oracle'; there are calculator, gate, faulty"):
        agent.call("oracle", "why", turn=0)
    call = agent.call("gate", "it", turn=0)
    agent.close()
    agent.close()
    assert agent.poll()[-1] == Update(call, "cancelled", "called off.")
    with pytest.raises(ToolError, match="closed"):
        agent.call("calculator", "1", turn=0)
    assert not agent._thread.is_alive()
