"""The panel: plain data, changed by checked calls from any thread, timed in turns, and rebuilt from its history."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.background.calculator import ToolError
from tml_lab.background.panel import (
    MAX_ITEMS,
    Board,
    Change,
    Chart,
    Checklist,
    Entry,
    Table,
    Timer,
    describe,
    from_plain,
    panel_at,
    seconds_left,
    to_plain,
)
from tml_lab.background.panel_tools import PanelTool, pairs_of, panel_tools


def ask(tool: PanelTool, request: str | dict) -> str:
    async def last() -> str:
        text = request if isinstance(request, str) else json.dumps(request)
        return [item async for item in tool.stream(text)][-1]

    return asyncio.run(last())


def tools_of(board: Board) -> dict[str, PanelTool]:
    return {tool.name: tool for tool in panel_tools(board)}


NAMES = st.sampled_from(["a", "b", "c"])
CALLS = st.one_of(
    st.builds(lambda id, n: ("chart", {"id": id, "labels": ["x"] * n, "values": [1.5] * n}), NAMES, st.integers(0, 3)),
    st.builds(lambda id, t: ("table", {"id": id, "columns": ["x"], "rows": [[t]]}), NAMES, st.text(max_size=5)),
    st.builds(lambda id, s: ("timer", {"id": id, "seconds": s}), NAMES, st.floats(0.1, 100)),
    st.builds(lambda id, t: ("list", {"id": id, "entries": [{"text": t}], "add": True}), NAMES, st.sampled_from("ab")),
    st.builds(lambda id: ("remove", {"id": id}), NAMES),
)


@given(st.lists(st.tuples(CALLS, st.booleans()), max_size=20))
def test_the_history_rebuilds_the_panel_and_is_plain_data(calls: list) -> None:
    board, history, turn, seen = Board(), [], 0, {}
    tools = tools_of(board)
    for (name, arguments), turns_pass in calls:
        before = board.items
        try:
            ask(tools[name], arguments)
        except ToolError as error:  # refused: another kind of that id, or nothing to take away
            assert board.items == before and "\n" not in str(error)
        if turns_pass:
            history += board.collect(turn)
            seen[turn] = board.items
            turn += 1
    for at, items in seen.items():
        assert sorted(panel_at(history, at), key=lambda i: i.id) == sorted(items, key=lambda i: i.id)
    assert from_plain(json.loads(json.dumps(to_plain(history)))) == tuple(history)


def test_a_call_updates_what_it_names_and_leaves_the_rest() -> None:
    board = Board()
    tools = tools_of(board)
    first = {"title": "sales", "labels": ["may", "june"], "values": [3, 5], "unit": "t"}
    assert ask(tools["chart"], first) == "done"
    ask(tools["chart"], {"labels": ["july"], "values": [4], "add": True})
    ask(tools["chart"], {"shape": "line"})
    ask(tools["table"], {"columns": ["what", "price"], "rows": [["bread", "3"]]})
    ask(tools["table"], {"rows": [["milk", "2"]], "add": True})
    chart, table = board.items
    assert chart == Chart(
        id="chart", title="sales", labels=("may", "june", "july"), values=(3, 5, 4), unit="t", shape="line"
    )
    assert table == Table(id="table", columns=("what", "price"), rows=(("bread", "3"), ("milk", "2")))
    assert [change.id for change in board.collect(3)] == ["chart", "table"] and board.collect(4) == []
    assert describe(chart, 3) == "Chart sales: may 3 t, june 5 t, july 4 t."
    assert describe(table, 3) == "Table table: 2 rows of what, price."


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("chart", {"labels": ["may"], "values": [1, 2]}, "1 labels do not fit 2 values"),
        ("chart", {"labels": ["may"], "values": ["many"]}, "values.0: Input should be a valid number"),
        ("chart", {"colour": "red"}, "colour: Extra inputs are not permitted"),
        ("chart", {"labels": ["x"] * 61, "values": [0] * 61}, "labels: Tuple should have at most 60 items"),
        ("table", {"rows": [["x"]]}, "columns: Field required"),
        ("table", {"columns": ["a", "b"], "rows": [["x"]]}, "row 0 has 1 cells, and the table 2 columns"),
        ("timer", {}, "seconds: Field required"),
        ("timer", {"seconds": -1}, "seconds: Input should be greater than 0"),
        ("timer", {"seconds": 1e9}, "less than or equal to 10800"),
        ("list", {"entries": ["bread"]}, "entries.0"),
        ("list", {"tick": ["bread"]}, "'bread' is not on the list"),
        ("list", '{"entries": [', "Invalid JSON"),
        ("remove", {"id": "chart"}, "there is nothing called 'chart' here; there is first"),
        ("chart", {"id": "first"}, "'first' is a checklist: use another id"),
    ],
)
def test_bad_arguments_are_one_sentence_and_change_nothing(tool: str, arguments: dict | str, says: str) -> None:
    board = Board()
    board.put(Checklist, "first", entries=[Entry(text="x")])
    before = board.items
    with pytest.raises(ToolError) as error:
        ask(tools_of(board)[tool], arguments)
    assert says in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")
    assert board.items == before


def test_a_full_panel_says_so() -> None:
    board = Board()
    for n in range(MAX_ITEMS):
        board.put(Timer, f"timer {n}", seconds=1)
    with pytest.raises(ToolError, match="the panel is full: 12 things"):
        board.put(Timer, "one more", seconds=1)
    board.put(Timer, "timer 3", seconds=2)  # what is there can still be changed


def test_a_timer_started_again_starts_anew_and_another_title_does_not() -> None:
    board = Board()
    board.put(Timer, "tea", seconds=4)
    board.collect(10)
    board.put(Timer, "tea", title="green tea")
    (change,) = board.collect(15)
    assert isinstance(change.put, Timer) and change.put.started == 10 and seconds_left(change.put, 20) == 2.0
    ask(tools_of(board)["timer"], {"id": "tea", "seconds": 4})
    (change,) = board.collect(20)
    assert isinstance(change.put, Timer) and change.put.started == 20 and change.put.title == "green tea"


def test_many_threads_lose_nothing() -> None:
    board = Board()
    tools = tools_of(board)
    add = {"add": True, "labels": ["x"], "values": [1]}
    threads = [threading.Thread(target=lambda: [ask(tools["chart"], add) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (chart,) = board.items
    assert isinstance(chart, Chart) and len(chart.values) == 40


def test_what_came_and_went_between_two_turns_is_told_once() -> None:
    board = Board()
    board.put(Timer, "a", seconds=1)
    board.put(Timer, "b", seconds=1)
    board.remove("a")
    assert [(c.id, c.put is None) for c in board.collect(2)] == [("a", True), ("b", False)]
    history = [Change(turn=2, put=Timer(id="b", seconds=1, started=2)), Change(turn=5, remove="b")]
    assert [len(panel_at(history, turn)) for turn in (1, 2, 4, 5)] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ("bread three", [("bread", 3)]),
        ("bread twenty three milk one hundred five", [("bread", 23), ("milk", 105)]),
        ("brown bread 3 milk 12", [("brown bread", 3), ("milk", 12)]),
    ],
)
def test_names_and_numbers_as_they_are_said(words: str, pairs: list) -> None:
    assert pairs_of(words) == pairs
    board = Board()
    ask(tools_of(board)["chart"], words)
    ask(tools_of(board)["table"], words)
    chart, table = board.items
    assert isinstance(chart, Chart) and list(zip(chart.labels, chart.values, strict=True)) == pairs
    assert isinstance(table, Table) and [(name, int(n)) for name, n in table.rows] == pairs
