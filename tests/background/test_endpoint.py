"""A background model behind the chat protocol, spoken by a small server here: streams, calls tools, fails in words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tml_lab.background.agent import BackgroundAgent, Update
from tml_lab.background.calculator import ToolError
from tml_lab.background.endpoint import Endpoint
from tml_lab.background.panel import Board, Table, describe
from tml_lab.background.panel_tools import panel_tools
from tml_lab.background.search import Search
from tml_lab.background.spoken import SpokenCalculator

pytest.importorskip("openai", reason="the extra background is not installed")
PATIENCE = 30.0


class Server(ThreadingHTTPServer):
    """Answers each request with the next script: a list of deltas, an HTTP status, text, or None for nothing at all."""

    daemon_threads = True

    def __init__(self, scripts: list[Any]) -> None:
        self.scripts, self.asked = scripts, []
        self.hold = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        script = self.server.scripts.pop(0) if self.server.scripts else 500
        if script is None:
            self.server.hold.wait(PATIENCE)
            return
        status = script if isinstance(script, int) else 200
        self.send_response(status)
        kind = "text/event-stream" if isinstance(script, list) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        if isinstance(script, list):
            for delta in script:
                if isinstance(delta, str):  # no JSON
                    self.wfile.write(f"data: {delta}\n\n".encode())
                    continue
                piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "toy",
                         "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}  # fmt: skip
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
        elif isinstance(script, str):
            self.wfile.write(script.encode())
        else:
            self.wfile.write(json.dumps({"error": {"message": "no such model"}}).encode())


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(*scripts: Any) -> Server:
        server = Server(list(scripts))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.hold.set()
        server.shutdown()
        server.server_close()


def words(*texts: str) -> list[dict[str, Any]]:
    return [{"content": text} for text in texts]


def call(name: str, arguments: str, index: int = 0) -> list[dict[str, Any]]:
    """A tool call in two pieces, as servers send it."""
    half = len(arguments) // 2
    return [
        {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function",
                         "function": {"name": name, "arguments": arguments[:half]}}]},
        {"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]},
    ]  # fmt: skip


def ask(endpoint: Endpoint, request: str = "what shall we cook") -> list[Update]:
    with BackgroundAgent([endpoint]) as agent:
        number = agent.call("ask", request, turn=3)
        updates: list[Update] = []
        while not updates or updates[-1].status == "partial":
            updates += agent.poll(patience=PATIENCE)
        assert {update.call for update in updates} == {number}
        return updates


def test_sentences_come_as_they_are_complete_and_the_answer_last(serve) -> None:
    server = serve(words("Take eg", "gs. Fry th", "em! Eat", " well"))
    updates = ask(Endpoint(server.url, "toy", context=lambda: '{"turn": 3}'))
    partial = [u.text for u in updates if u.status == "partial"]
    assert partial == ["Take eggs.", "Fry them!", "Take eggs. Fry them! Eat well"]
    assert updates[-1].status == "done" and updates[-1].text == "Take eggs. Fry them! Eat well"
    path, body = server.asked[0]
    assert path == "/v1/chat/completions" and body["stream"] and "tools" not in body
    roles = [(m["role"], m["content"]) for m in body["messages"]]
    assert roles[1] == ("system", 'The conversation so far: {"turn": 3}')
    assert roles[2] == ("user", "what shall we cook")


def test_tools_are_called_and_their_words_go_back(serve) -> None:
    server = serve(call("calculator", '{"request": "twelve times fourteen"}'), words("It is 168."))
    updates = ask(Endpoint(server.url, "toy", tools=[SpokenCalculator()]))
    assert updates[-1].text == "It is 168."
    (_, first), (_, second) = server.asked
    assert first["tools"][0]["function"]["name"] == "calculator"
    assert second["messages"][-1] == {"role": "tool", "tool_call_id": "c0", "content": "168"}


def test_bad_arguments_unknown_tools_and_failing_ones_are_told_to_the_model(serve) -> None:
    server = serve(
        [*call("calculator", '{"sum": 1}'), *call("weather", "{}", 1), *call("calculator", '{"request": "x"}', 2)],
        words("Sorry."),
    )
    assert ask(Endpoint(server.url, "toy", tools=[SpokenCalculator()]))[-1].text == "Sorry."
    told = [m["content"] for m in server.asked[1][1]["messages"] if m["role"] == "tool"]
    assert "request: Field required" in told[0] and "no tool called 'weather'" in told[1] and "is no number" in told[2]


def test_the_panel_is_drawn_by_calls_with_a_schema_and_faults_are_told(serve) -> None:
    board = Board()
    table = call("table", '{"columns": ["a"], "rows": [["b"]]}', 1)
    server = serve(
        [*call("chart", '{"labels": ["may"], "values": [3, 5]}'), *table],
        call("chart", '{"labels": ["may"], "values": [3]}'),
        words("There."),
    )
    assert ask(Endpoint(server.url, "toy", tools=panel_tools(board)))[-1].text == "There."
    offered = {tool["function"]["name"]: tool["function"] for tool in server.asked[0][1]["tools"]}
    assert set(offered) == {"list", "timer", "chart", "table", "remove"}
    assert set(offered["chart"]["parameters"]["properties"]) >= {"id", "labels", "values", "unit", "shape", "add"}
    assert "Draw a chart" in offered["chart"]["description"]
    told = [m["content"] for m in server.asked[2][1]["messages"] if m["role"] == "tool"]
    assert told == ["error: the arguments: 1 labels do not fit 2 values.", "done", "done"]
    assert [describe(item, 0) for item in board.items] == ["Table table: 1 rows of a.", "Chart chart: may 3."]


def test_the_course_is_searched_by_a_call_with_a_schema_and_the_passages_go_back(serve) -> None:
    board = Board()
    server = serve(call("search", '{"query": "router", "passages": 2}'), words("It scores experts."))
    assert ask(Endpoint(server.url, "toy", tools=[Search(board)]))[-1].text == "It scores experts."
    (_, first), (_, second) = server.asked
    (offered,) = [tool["function"] for tool in first["tools"]]
    assert offered["name"] == "search" and "text of this course" in offered["description"]
    assert set(offered["parameters"]["properties"]) == {"query", "passages"}
    quoted = second["messages"][-1]["content"].splitlines()
    assert len(quoted) == 2 and quoted[0].startswith("Glossary: router (docs/glossary.md): scores experts")
    assert [describe(item, 0) for item in board.items] == ["Table found: router: 2 rows of where, begins, link."]


def test_a_chart_grows_while_its_call_is_written(serve) -> None:
    whole = '{"title": "sales", "labels": ["may", "june, july", "august"], "values": [12, -3.5, 40]}'
    board, seen = Watched(), []
    board.on_change = lambda item: seen.append(item)
    server = serve(letters("chart", whole), words("There."))
    assert ask(Endpoint(server.url, "toy", tools=panel_tools(board)))[-1].text == "There."
    assert {chart.title for chart in seen} == {"sales"}
    points = [(12,), (12, -3.5), (12, -3.5, 40), (12, -3.5, 40)]  # never 1, of 12; the last time it is the call itself
    assert [chart.values for chart in seen] == points


@pytest.mark.parametrize("there", [True, False])
def test_a_call_that_goes_wrong_leaves_the_panel_as_it_was(serve, there: bool) -> None:
    board, seen = Watched(), []
    if there:
        board.put(Table, "table", columns=["a"], rows=[["old"]])
    before = board.items
    board.on_change = seen.append
    bad = '{"columns": ["a", "b"], "rows": [["x", "y"], ["z", "w"], ["only one"]]}'
    server = serve(letters("table", bad), words("Sorry."))
    assert ask(Endpoint(server.url, "toy", tools=panel_tools(board)))[-1].text == "Sorry."
    assert max(len(table.rows) for table in seen) == 2 and board.items == before
    seen.clear()
    server = serve([*letters("table", bad[:60]), "broken"])  # it breaks off in the middle
    assert ask(Endpoint(server.url, "toy", tools=panel_tools(board), retries=0))[-1].status == "failed"
    assert seen and board.items == before


def test_the_name_of_an_item_may_come_last(serve) -> None:
    board = Board()
    server = serve(letters("chart", '{"labels": ["may"], "values": [3], "id": "sales"}'), words("Yes."))
    assert ask(Endpoint(server.url, "toy", tools=panel_tools(board)))[-1].status == "done"
    assert [describe(item, 0) for item in board.items] == ["Chart sales: may 3."]


class Watched(Board):
    """Tells what is put on it."""

    on_change: Callable[[Any], object] = staticmethod(lambda item: None)

    def edit(self, *args: Any) -> Any:
        item = super().edit(*args)
        self.on_change(item)
        return item


def letters(name: str, arguments: str) -> list[dict[str, Any]]:
    """A call whose arguments come letter by letter."""
    first = {"index": 0, "id": "c0", "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": letter}} for letter in arguments]
    return [{"tool_calls": [piece]} for piece in (first, *rest)]


def test_a_session_gives_the_conversation_with_its_question(serve) -> None:
    server = serve(words("Here."))
    told = Endpoint(server.url, "toy").knowing(lambda: '{"turn": 3}')
    assert ask(told)[-1].text == "Here."
    assert server.asked[0][1]["messages"][1]["content"] == 'The conversation so far: {"turn": 3}'


@pytest.mark.parametrize(
    ("scripts", "sentence"),
    [
        ([404], "refused with status 404"),
        ([500, 500, 500], "refused with status 500"),
        ([words("")], "answered nothing"),
        ([words("x" * 5000)], "longer than 4000 characters"),
        ([call("calculator", '{"request": "1"}')] * 4, "no answer after 4 rounds"),
    ],
)
def test_what_goes_wrong_is_one_sentence(serve, scripts: list[Any], sentence: str) -> None:
    server = serve(*scripts)
    last = ask(Endpoint(server.url, "toy", tools=[SpokenCalculator()]))[-1]
    assert last.status == "failed" and sentence in last.text and "\n" not in last.text
    assert server.url in last.text


def test_a_failure_before_anything_came_is_tried_again(serve) -> None:
    server = serve(503, words("Here."))
    assert ask(Endpoint(server.url, "toy"))[-1].text == "Here." and len(server.asked) == 2


def test_a_server_that_hangs_or_is_not_there(serve) -> None:
    server = serve(None)
    assert "did not answer in time" in ask(Endpoint(server.url, "toy", timeout=0.3, retries=0))[-1].text
    gone = serve()
    url = gone.url
    gone.shutdown()
    gone.server_close()
    assert "cannot be reached" in ask(Endpoint(url, "toy", timeout=5, retries=0))[-1].text


def test_a_question_can_be_called_off(serve) -> None:
    server = serve(None)
    with BackgroundAgent([Endpoint(server.url, "toy", retries=0)]) as agent:
        number = agent.call("ask", "anything", turn=0)
        assert agent.cancel(number)
        assert agent.poll(patience=PATIENCE)[-1].status == "cancelled" and not agent.open_calls()


def test_without_the_package_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ToolError, match="needs the package openai"):
        Endpoint("http://localhost:1/v1", "toy")
