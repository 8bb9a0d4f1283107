"""Tools in words: what the world's scenes expect of them, and one sentence for what they cannot do."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.background.calculator import ToolError
from tml_lab.background.panel import Board, Checklist, Entry, Timer, seconds_left
from tml_lab.background.panel_tools import DrawChart, KeepList, Remove, StartTimer
from tml_lab.background.spoken import (
    Clock,
    Converter,
    SpokenCalculator,
    spoken_tools,
)
from tml_lab.background.spoken_numbers import number_of
from tml_lab.model.text import normalise_text, number_words
from tml_lab.worlds.families.tools import draw_task
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
    seen = set()
    for _ in range(200):
        task, tools = draw_task(stage), {tool.name: tool for tool in spoken_tools()}
        tool, _, arguments = task.request.partition(" ")
        result = ask(tools[tool], arguments)
        seen.add(tool)
        if tool != "clock":  # which has a time of its own
            assert normalise_text(result) == task.result, task
    assert seen == {"calculator", "convert", "clock", "list", "timer"}  # a scene asks for no chart yet


def test_the_clock_says_hours_and_minutes() -> None:
    def at(hour: int, minute: int) -> str:
        return ask(Clock(lambda: time.struct_time((2026, 5, 1, hour, minute, 0, 4, 121, 0))), "")

    assert (at(10, 25), at(0, 5), at(12, 0), at(13, 1)) == ("10 25", "12 5", "12", "1 1")


def test_a_list_keeps_and_is_ticked_off() -> None:
    shopping = KeepList(Board())
    assert ask(shopping, "show") == "nothing"
    assert ask(shopping, "add bread") == ask(shopping, "add a table") == "done"
    assert ask(shopping, "show") == "bread a table"
    assert ask(shopping, "tick bread") == "done" and ask(shopping, "show") == "a table"
    (item,) = shopping.board.items
    assert item == Checklist(id="list", entries=(Entry(text="bread", done=True), Entry(text="a table")))
    assert ask(shopping, "clear") == "done" and ask(shopping, "show") == "nothing"


def test_timers_run_in_turns_and_make_room_when_they_are_over() -> None:
    board = Board()
    timer = StartTimer(board)
    assert ask(timer, "two seconds") == ask(timer, "five minutes") == "done"
    assert all(isinstance(item, Timer) and item.started is None for item in board.items)
    short, long = [change.put for change in board.collect(7)]
    assert isinstance(short, Timer) and isinstance(long, Timer) and (short.started, long.title) == (7, "5 minutes")
    assert [seconds_left(short, turn) for turn in (7, 8, 16, 17, 99)] == [2.0, 1.8, 0.2, 0.0, 0.0]
    assert seconds_left(long, 7 + 5 * 299) == 1.0
    board.collect(30)
    ask(timer, "one minute")
    assert [item.id for item in board.items] == ["timer 1", "timer 2"]  # the first was over
    assert ask(Remove(board), "timer two") == "done" and [item.id for item in board.items] == ["timer 1"]


@pytest.mark.parametrize(
    ("tool", "request_", "words"),
    [
        (SpokenCalculator(), "many times two", "'many ' is no number"),
        (SpokenCalculator(), "two divided by zero", "divides by zero"),
        (Converter(), "three miles to hours", "'mile' is no unit"),
        (Converter(), "three minutes to hours", "no whole number"),
        (Converter(), "three", "is no conversion"),
        (Clock(), "tomorrow", "no arguments"),
        (KeepList(), "add ", "text: "),
        (KeepList(), "burn it", "cannot"),
        (KeepList(), "tick bread", "'bread' is not on the list"),
        (StartTimer(), "five hours", "no time for a timer"),
        (StartTimer(), "nine hundred minutes", "n: Input should be less than or equal to 180"),
        (StartTimer(), "zero minutes", "greater than or equal to 1"),
        (DrawChart(), "bread", "does not pair names with numbers"),
        (Remove(), "table", "there is nothing called 'table' here"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tool, request_: str, words: str) -> None:
    with pytest.raises(ToolError) as error:
        ask(tool, request_)
    assert words in str(error.value) and "\n" not in str(error.value)
