"""The HTTP side: refusals, limits, recordings, health, metrics; and a log without a word of content."""

from __future__ import annotations

import io
import json
import logging
import struct
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.in_memory import InMemory
from tests.serve.loopback import served
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.contract import Append, BusyError
from tml_lab.serve.gate import Settings
from tml_lab.serve.json_lines import start_log, stop_log
from tml_lab.serve.messages import append_message, read_reply
from tml_lab.serve.wire import MEDIA_TYPE, unpack
from tml_lab.stream.recording import Recording

TOKEN = "a-token-for-this-class"
WORDS = "kindly mention swordfish tomorrow"


@pytest.fixture
def sessions(model: InteractionModel, tokenizer: TextTokenizer) -> InMemory:
    return InMemory(model, tokenizer)


@pytest.fixture
def http(sessions: InMemory) -> Iterator[httpx.Client]:
    with served(sessions) as url, client(url) as http:
        yield http


def client(url: str, token: str | None = None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url.replace("ws", "http", 1), headers=headers, timeout=60)


def chunk(seq: int, text: str | None = None, **more: int) -> bytes:
    sound = np.random.default_rng(seq).standard_normal(3200).astype(np.float32) / 8
    return append_message(Append(seq, sound, None, text, **more))


def send(http: httpx.Client, opened: dict, data: bytes, writer: str | None = None) -> httpx.Response:
    headers = {"Writer-Key": writer or opened["writer"], "Content-Type": MEDIA_TYPE}
    return http.post("/append", params={"session_id": opened["session_id"]}, content=data, headers=headers)


def refused(response: httpx.Response, status: int, code: str) -> str:
    fields = response.json()
    assert (response.status_code, fields["code"], fields["status"]) == (status, code, status), response.text
    assert len(fields["sentence"].splitlines()) == 1 and fields["sentence"].endswith(".")
    return fields["sentence"]


def test_a_conversation_by_http(http: httpx.Client, sessions: InMemory) -> None:
    opened = http.post("/open_session", json={"seed": 3, "attention": [1, 0]}).json()
    key = {"Writer-Key": opened["writer"]}
    replies = [read_reply(unpack(send(http, opened, chunk(n, WORDS if n == 2 else None)).content, max_parts=50))
               for n in range(5)]  # fmt: skip
    assert [reply.turn.turn for reply in replies] == list(range(5))
    assert all(reply.turn.attention is not None for reply in replies)
    again = read_reply(unpack(send(http, opened, chunk(4)).content, max_parts=50))
    assert again.again and again.turn.p_speak == replies[4].turn.p_speak
    with_gap = read_reply(unpack(send(http, opened, chunk(7, lost=2)).content, max_parts=50))
    assert [turn.turn for turn in with_gap.gaps] == [5, 6] and with_gap.turn.turn == 7
    watched = {"session_id": opened["session_id"], "attention": None}
    assert http.post("/watch_attention", json=watched, headers=key).json() == {"ok": True}
    twin = http.post("/fork_session", json={"session_id": opened["session_id"], "at_turn": 3}).json()
    assert twin["expected"] == 3 and twin["writer"] != opened["writer"]
    info = http.get("/session_info", params={"session_id": opened["session_id"]}).json()
    assert (info["expected"], info["turns"]) == (8, 8)
    ended = http.post("/close_session", json={"session_id": opened["session_id"]}, headers=key)
    assert ended.json() == {"ok": True} and list(sessions.held) == [twin["session_id"]]


def test_a_recording_comes_as_one_file(http: httpx.Client, tmp_path) -> None:
    opened = http.post("/open_session", json={}).json()
    for n in range(3):
        send(http, opened, chunk(n))
    response = http.get("/recording", params={"session_id": opened["session_id"]})
    assert response.headers["content-type"] == "application/zip"
    file = tmp_path / "lesson.zip"
    file.write_bytes(response.content)
    assert Recording.load(file).turns == 3


def test_refusals_are_sentences(http: httpx.Client) -> None:
    opened = http.post("/open_session", json={}).json()
    name = {"session_id": opened["session_id"]}
    assert "chunk 0 is missing" in refused(send(http, opened, chunk(4)), 409, "chunk_gap")
    assert send(http, opened, chunk(4)).json()["expected"] == 0
    refused(send(http, opened, chunk(0), "another key"), 403, "not_allowed")
    refused(send(http, {**opened, "session_id": "nobody"}, chunk(0)), 404, "no_session")
    refused(send(http, opened, b"TML1"), 422, "bad_chunk")
    refused(http.get("/session_info", params={"session_id": "nobody"}), 404, "no_session")
    assert "there is no layer 99" in refused(http.post("/open_session", json={"attention": [99, 0]}), 400, "refused")
    assert "missing" in refused_form(http.post("/close_session", json=name))  # no writer's key
    assert "extra" in refused_form(http.post("/open_session", json={"sead": 3}))
    assert refused_form(http.post("/open_session", json={"seed": -1}))
    assert refused_form(http.post("/open_session", content=b"{"))
    assert http.get("/nowhere").json()["code"] == "refused" and http.get("/nowhere").status_code == 404
    assert http.get("/append").status_code == 405


def refused_form(response: httpx.Response) -> str:
    assert response.status_code == 422 and response.json()["code"] == "refused", response.text
    return response.json()["sentence"]


def test_what_is_wrong_is_not_sent_back(http: httpx.Client) -> None:
    response = http.post("/open_session", json={"seed": "the secret word is swordfish"})
    assert response.status_code == 422 and "swordfish" not in response.text


def test_asked_twice_with_one_request_id_one_session_is_opened(http: httpx.Client, sessions: InMemory) -> None:
    body = {"seed": 1, "request_id": "abcdefgh"}
    first, second = (http.post("/open_session", json=body).json() for _ in range(2))
    assert first == second and len(sessions.held) == 1
    fork = {"session_id": first["session_id"], "request_id": "ijklmnop"}
    twin, again = (http.post("/fork_session", json=fork).json() for _ in range(2))
    assert twin == again != first and len(sessions.held) == 2
    sessions.most = 2
    body = {"request_id": "qrstuvwx"}
    response = http.post("/open_session", json=body)
    refused(response, 429, "busy")
    assert response.headers["retry-after"] == "1"
    sessions.most = 3
    assert http.post("/open_session", json=body).status_code == 200  # a refusal is not remembered


@pytest.mark.parametrize("path", ["/open_session", "/append", "/session_info", "/recording", "/metrics", "/nowhere"])
def test_no_call_goes_without_the_token(model, tokenizer, path: str) -> None:
    with served(InMemory(model, tokenizer), Settings(tokens=(TOKEN,))) as url:
        for token in (None, "wrong-token"):
            with client(url, token) as http:
                refused(http.request("GET" if path in ("/metrics",) else "POST", path), 403, "not_allowed")
                assert http.get("/health").status_code == http.get("/").status_code == 200
        with client(url, TOKEN) as http:
            assert http.get("/metrics").status_code == 200


def test_too_much_is_refused_before_it_is_read(model, tokenizer) -> None:
    with served(InMemory(model, tokenizer), Settings(max_message=20_000)) as url, client(url) as http:
        opened = http.post("/open_session", json={}).json()
        refused(send(http, opened, bytes(20_001)), 413, "too_long")

        def drops() -> Iterator[bytes]:  # no length is promised
            for _ in range(100):
                yield bytes(1000)

        headers = {"Writer-Key": opened["writer"]}
        params = {"session_id": opened["session_id"]}
        response = http.post("/append", params=params, content=drops(), headers=headers)
        refused(response, 413, "too_long")
        # A part that grows when it is unpacked is held to the same limit.
        header = json.dumps({"kind": "append", "seq": 0, "parts": [["audio", "sparse", [2**24, 0]]]}).encode()
        refused(send(http, opened, b"TML1" + struct.pack("<I", len(header)) + header), 422, "bad_chunk")
        assert send(http, opened, chunk(0)).status_code == 200


def test_who_calls_too_often_is_asked_to_wait(model, tokenizer) -> None:
    slow = Settings(chunks=0.001, chunk_burst=2, calls=0.001, burst=12)
    with served(InMemory(model, tokenizer), slow) as url, client(url) as http:
        first, second = (http.post("/open_session", json={}).json() for _ in range(2))
        assert [send(http, first, chunk(n)).status_code for n in range(3)] == [200, 200, 429]
        assert int(send(http, first, chunk(2)).headers["retry-after"]) > 60
        assert send(http, second, chunk(0)).status_code == 200  # the next session is not disturbed
        answers = [http.get("/session_info", params={"session_id": first["session_id"]}) for _ in range(12)]
        assert "too many calls" in refused(answers[-1], 429, "busy")
        assert http.get("/health").status_code == 200


def test_a_page_of_another_origin_can_do_nothing(model, tokenizer) -> None:
    settings = Settings(origins=("https://hub.example.org",))
    with served(InMemory(model, tokenizer), settings) as url, client(url) as http:
        refused(http.post("/open_session", json={}, headers={"Origin": "https://evil.example"}), 403, "not_allowed")
        refused(http.post("/open_session", json={}, headers={"Host": "evil.example"}), 403, "not_allowed")
        allowed = http.post("/open_session", json={}, headers={"Origin": "https://hub.example.org"})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://hub.example.org"
        asked = {"Origin": "https://hub.example.org", "Access-Control-Request-Method": "POST"}
        asked |= {"Access-Control-Request-Headers": "authorization, content-type, writer-key, x-session-id"}
        assert http.options("/open_session", headers=asked).status_code == 200  # all that our client sends
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in http.options("/open_session", headers=asked).headers


def test_a_turn_that_takes_too_long_is_asked_for_again(http: httpx.Client, model, tokenizer) -> None:
    sessions = InMemory(model, tokenizer)
    sessions.gate.clear()
    with served(sessions, Settings(patience=0.05)) as url, client(url) as http:
        opened = http.post("/open_session", json={}).json()
        assert "send the same one again" in refused(send(http, opened, chunk(0)), 429, "busy")
        sessions.gate.set()
        while (response := send(http, opened, chunk(0))).status_code == 429:
            pass
        assert read_reply(unpack(response.content, max_parts=50)).turn.turn == 0
        assert sessions.held[opened["session_id"]].expected == 1


def test_a_failure_of_the_server_is_said_without_details(http: httpx.Client, sessions: InMemory) -> None:
    sessions.info = lambda id: {}["the secret word is swordfish"]
    response = http.get("/session_info", params={"session_id": "x"})
    refused(response, 500, "failed")
    assert "swordfish" not in response.text


def test_metrics_parse_and_count(http: httpx.Client, sessions: InMemory) -> None:
    opened = http.post("/open_session", json={}).json()
    send(http, opened, chunk(0))
    send(http, opened, chunk(5))
    families = {family.name: family for family in text_string_to_metric_families(http.get("/metrics").text)}
    refused = [s for s in families["tml_answers_refused"].samples if s.name.endswith("_total")]
    seen = {sample.labels["code"]: sample.value for sample in refused}
    assert seen == {"chunk_gap": 1}
    (count,) = [s.value for s in families["tml_append_seconds"].samples if s.name.endswith("_count")]
    assert count == 1
    paths = {(s.labels["path"], s.labels["status"]) for s in families["tml_http_requests"].samples}
    assert {("/append", "200"), ("/append", "409"), ("/open_session", "200")} <= paths


def test_the_log_is_json_and_holds_no_content(http: httpx.Client, sessions: InMemory) -> None:
    stream = io.StringIO()
    handler = start_log(stream, logging.DEBUG)
    try:
        opened = http.post("/open_session", json={}).json()
        send(http, opened, chunk(0, WORDS))
        send(http, opened, chunk(9, WORDS))
        sessions.refuse.append(BusyError(f"not now: {WORDS}"))
        send(http, opened, chunk(1, WORDS))
        sessions.refuse.append(KeyError(WORDS))  # nobody expects it, and its message quotes what was said
        assert send(http, opened, chunk(1, WORDS)).status_code == 500
        http.post("/open_session", json={"seed": WORDS})
        http.get(f"/{WORDS}", params={"q": WORDS})
    finally:
        stop_log(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all({"time", "level", "event"} <= set(line) for line in lines)
    assert [line["error"] for line in lines if line["event"] == "failed"] == ["KeyError"]
    assert {"opened", "request"} <= {line["event"] for line in lines}
    said = stream.getvalue()
    for secret in (*WORDS.split(), opened["writer"], opened["session_id"]):
        assert secret not in said


def test_a_waking_server_says_so(model, tokenizer) -> None:
    waking = [True]
    with served(InMemory(model, tokenizer), waking=lambda: waking[0]) as url, client(url) as http:
        response = http.get("/health")
        assert response.status_code == 503 and response.json() == {"status": "waking"}
        waking[0] = False
        assert http.get("/health").json() == {"status": "ok"}
