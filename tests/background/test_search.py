"""Search over the course's own text: in words and in JSON, beside other tools; one sentence for what is not found."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.background import search
from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.calculator import ToolError
from tml_lab.background.panel import Board, Table
from tml_lab.background.passages import ROOT, Passage, passages
from tml_lab.background.search import MAX_SAID, Index, Search
from tml_lab.background.spoken import SpokenCalculator

PATIENCE = 30.0


def ask(tool: Search, request: str) -> str:
    async def last() -> str:
        return [item async for item in tool.stream(request)][-1]

    return asyncio.run(last())


def test_a_word_is_explained_and_the_passages_stand_on_the_panel() -> None:
    board = Board()
    assert ask(Search(board), "router").startswith("router: scores experts")
    (table,) = board.items
    assert isinstance(table, Table) and (table.id, table.title) == ("search", "found: router")
    assert table.columns == ("where", "begins", "link") and len(table.rows) == 3
    assert table.rows[0][0] == "Glossary: router" and table.rows[0][2] == "docs/glossary.md"
    assert all((ROOT / link.split("#")[0]).is_file() for _, _, link in table.rows)
    ask(Search(board), "vocoder")
    assert [item.title for item in board.items] == ["found: vocoder"]  # one table, the newest


@pytest.mark.parametrize(
    ("query", "stands_in"),  # words that people ask with, not those of the headings alone
    [
        ("what is a micro turn", "docs/glossary.md"),
        ("how does a router choose experts", "05_mixture_of_experts"),
        ("how does it refuse", "16_safety"),
        ("install with conda", "README.md"),
        ("a tool that hangs", "11_background"),
        ("several gpus add", "docs/collectives.md"),
        ("fit turn", "11_background"),  # in the text fit_turn
        ("chapter nine bitwise", "09_bitwise"),  # 09 there
    ],
)
def test_what_people_ask_is_among_the_first_three(query: str, stands_in: str) -> None:
    board = Board()
    ask(Search(board), query)
    (table,) = board.items
    assert any(stands_in in link for _, _, link in table.rows), table.rows


def test_a_larger_model_is_given_the_passages_themselves() -> None:
    board = Board()
    quoted = ask(Search(board), '{"query": "shared experts", "passages": 2}').splitlines()
    assert len(quoted) == 2 and all(len(line) < 900 for line in quoted)
    (table,) = board.items
    assert isinstance(table, Table) and len(table.rows) == 2
    assert any("05 Mixture of experts" in line and "notebooks/05_mixture_of_experts.ipynb#" in line for line in quoted)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("", "query: String should have at least 1 character."),
        ("   ", "query: String should have at least 1 character."),
        ("x" * 201, "query: String should have at most 200 characters."),
        ("of the", "'of the' holds no word to look for."),
        ("?", "'?' holds no word to look for."),
        ("xyzzy plugh", "nothing in the course's text is about 'xyzzy plugh'."),
        ('{"query": "router", "passages": 0}', "passages: Input should be greater than or equal to 1."),
        ('{"search": "router"}', "query: Field required."),
    ],
)
def test_what_cannot_be_found_is_one_sentence_and_draws_nothing(request_: str, says: str) -> None:
    board = Board()
    with pytest.raises(ToolError) as error:
        ask(Search(board), request_)
    assert str(error.value) == says and board.items == ()


@given(st.text(max_size=60))
def test_any_words_give_a_short_line_or_one_sentence(words: str) -> None:
    try:
        said = ask(Search(), words)
    except ToolError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < len(said) <= MAX_SAID or words.lstrip().startswith("{")


def test_where_the_course_is_not_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^the course's text is not in .*: only a checkout of the repository has it.$"):
        ask(Search(root=tmp_path), "router")


def test_without_the_package_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    monkeypatch.setattr(search, "passages", lambda root: [Passage("a", "b", "c", "d")])
    with pytest.raises(ToolError, match="needs the package bm25s"):
        ask(Search(root=tmp_path), "router")


def test_equal_passages_keep_their_order_and_more_than_there_are_is_no_error() -> None:
    index = Index([Passage("A", "one", "same words", "1"), Passage("A", "one", "same words", "2")])
    assert [one.link for one in index.best("words", 10)] == ["1", "2"]


def test_the_course_is_read_once_in_a_thread_and_no_other_tool_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reads, go_on = [], threading.Event()

    def slow(root: Path) -> list[Passage]:
        reads.append(threading.current_thread().name)
        assert go_on.wait(PATIENCE)
        return passages()

    monkeypatch.setattr(search, "passages", slow)
    with BackgroundAgent([Search(root=tmp_path), SpokenCalculator()]) as agent:
        first, second = agent.call("search", "router", turn=0), agent.call("search", "sink", turn=0)
        sum_ = agent.call("calculator", "two plus three", turn=0)
        ended = []
        while sum_ not in ended:
            ended += [update.call for update in agent.poll(patience=PATIENCE) if update.status == "done"]
        assert ended == [sum_] and {call.id for call in agent.open_calls()} == {first, second}
        go_on.set()
        while len(ended) < 3:
            ended += [update.call for update in agent.poll(patience=PATIENCE) if update.status == "done"]
        assert set(ended) == {first, second, sum_} and len(reads) == 1 and "tml-background" not in reads


def test_a_search_that_is_called_off_draws_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board, go_on = Board(), threading.Event()
    monkeypatch.setattr(search, "passages", lambda root: passages() if go_on.wait(PATIENCE) else [])
    with BackgroundAgent([Search(board, tmp_path)]) as agent:
        call = agent.call("search", "router", turn=0)
        assert agent.cancel(call) and agent.poll(patience=PATIENCE)[-1].status == "cancelled"
        go_on.set()
        assert agent.call("search", "sink", turn=0) != call
        while not (updates := agent.poll(patience=PATIENCE)) or updates[-1].status != "done":
            pass
        assert [item.title for item in board.items] == ["found: sink"]
