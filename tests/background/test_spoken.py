"""Tools in words: what the world's scenes expect of them, and one sentence for what they cannot do."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.background.calculator import ToolError
from tml_lab.background.spoken import (
    Checklist,
    Clock,
    Converter,
    SpokenCalculator,
    Timer,
    number_of,
    spoken_tools,
)
from tml_lab.model.text import normalise_text, number_words
from tml_lab.worlds.families.tools import DONE, draw_task
from tml_lab.worlds.stage import open_stage
from tml_lab.worlds.voices import VoiceBank


def ask(tool, request: str) -> str:
    async def last() -> str:
        return [item async for item in tool.stream(request)][-1]

    return asyncio.run(last())


@given(st.integers(0, 999))
def test_numbers_are_read_as_they_are_said(n: int) -> None:
    assert number_of(number_words(n)) == number_of(str(n)) == n


def test_every_task_of_the_world_gets_the_result_that_its_scene_expects() -> None:
    stage = open_stage(VoiceBank.open("train", quiet=True), np.random.default_rng(0), "train")
    tools = {tool.name: tool for tool in spoken_tools()}
    seen = set()
    for _ in range(200):
        task = draw_task(stage)
        tool, _, arguments = task.request.partition(" ")
        result = ask(tools[tool], arguments)
        seen.add(tool)
        if tool != "clock":  # which has a time of its own
            assert normalise_text(result) == task.result, task
    assert seen == set(tools)


def test_the_clock_says_hours_and_minutes() -> None:
    def at(hour: int, minute: int) -> str:
        return ask(Clock(lambda: time.struct_time((2026, 5, 1, hour, minute, 0, 4, 121, 0))), "")

    assert (at(10, 25), at(0, 5), at(12, 0), at(13, 1)) == ("10 25", "12 5", "12", "1 1")


def test_a_list_keeps_and_a_timer_runs() -> None:
    shopping = Checklist()
    assert ask(shopping, "add bread") == DONE and ask(shopping, "add a table") == DONE
    assert ask(shopping, "show") == "bread a table" and shopping.items == ["bread", "a table"]
    assert ask(shopping, "clear") == DONE and ask(shopping, "show") == "nothing"
    now = [100.0]
    timer = Timer(lambda: now[0])
    assert ask(timer, "five minutes") == DONE and timer.left() == [300.0]
    now[0] += 301
    assert timer.left() == []


@pytest.mark.parametrize(
    ("tool", "request_", "words"),
    [
        (SpokenCalculator(), "many times two", "'many ' is no number"),
        (SpokenCalculator(), "two divided by zero", "divides by zero"),
        (Converter(), "three miles to hours", "'mile' is no unit"),
        (Converter(), "three minutes to hours", "no whole number"),
        (Converter(), "three", "is no conversion"),
        (Clock(), "tomorrow", "no arguments"),
        (Checklist(), "add ", "thing"),
        (Checklist(), "burn it", "cannot"),
        (Checklist(items=["x"], longest=1), "add bread", "full"),
        (Timer(), "five hours", "no time for a timer"),
        (Timer(), "nine hundred minutes", "n: Input should be less than or equal to 180"),
        (Timer(), "zero minutes", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tool, request_: str, words: str) -> None:
    with pytest.raises(ToolError) as error:
        ask(tool, request_)
    assert words in str(error.value) and "\n" not in str(error.value)
