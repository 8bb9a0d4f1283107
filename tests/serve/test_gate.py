"""Who comes in: tokens, origins, hosts, rates."""

from __future__ import annotations

import pytest

from tml_lab.serve.contract import BusyError, NotAllowedError
from tml_lab.serve.gate import ANYBODY, Gate, Settings
from tml_lab.serve.rates import Rate

HERE = {"host": "127.0.0.1:8321"}
THERE = {"host": "class.example.org:8321"}


def bearer(token: str) -> dict[str, str]:
    return {**THERE, "authorization": f"Bearer {token}"}


def test_without_tokens_only_this_machine_may_come() -> None:
    gate = Gate(Settings())
    assert gate.admit(HERE, "127.0.0.1") == ANYBODY
    for host in ("localhost", "[::1]:8321", "LOCALHOST:1"):
        assert gate.admit({"host": host}, "127.0.0.1") == ANYBODY
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example@127.0.0.1", "[::1", "", "127.0.0.1/x"):
        with pytest.raises(NotAllowedError, match="only to localhost"):
            gate.admit({"host": host}, "127.0.0.1")


def test_any_of_the_tokens_opens_and_callers_are_told_apart() -> None:
    gate = Gate(Settings(tokens=("first-token", "second-token")))
    names = {gate.admit(bearer(token), "10.0.0.1") for token in ("first-token", "second-token")}
    assert len(names) == 2 and all(len(name) == 8 for name in names)
    assert gate.admit(THERE, "10.0.0.1", ["tml.v1", "bearer.first-token"]) in names
    for headers in (THERE, bearer(""), bearer("first-toke"), bearer("first-token2"), bearer("FIRST-TOKEN"),
                    {**THERE, "authorization": "Basic first-token"}):  # fmt: skip
        with pytest.raises(NotAllowedError, match="wants a token"):
            gate.admit(headers, "10.0.0.1")


def test_guessing_becomes_slow_for_the_one_who_guesses() -> None:
    gate = Gate(Settings(tokens=("right-token",)))
    for _ in range(20):
        with pytest.raises(NotAllowedError):
            gate.admit(bearer("wrong"), "10.0.0.1")
    with pytest.raises(BusyError, match="too many wrong tokens") as refused:
        gate.admit(bearer("wrong"), "10.0.0.1")
    assert refused.value.retry_after is not None and 0 < refused.value.retry_after <= 1
    assert gate.admit(bearer("right-token"), "10.0.0.1")  # a class behind one address is not locked out


@pytest.mark.parametrize(
    ("origin", "scheme", "right"),
    [
        (None, "ws", True),
        ("http://127.0.0.1:8321", "ws", True),
        ("https://127.0.0.1:8321", "wss", True),
        ("https://hub.example.org", "ws", True),
        ("http://127.0.0.1:9999", "ws", False),
        ("https://127.0.0.1:8321", "ws", False),
        ("https://evil.example", "http", False),
        ("null", "http", False),
        ("https://hub.example.org.evil.example", "ws", False),
    ],
)
def test_a_page_must_be_of_an_allowed_origin(origin: str | None, scheme: str, right: bool) -> None:
    gate = Gate(Settings(origins=("https://hub.example.org",)))
    headers = HERE if origin is None else {**HERE, "origin": origin}
    if right:
        assert gate.admit(headers, "127.0.0.1", scheme=scheme) == ANYBODY
    else:
        with pytest.raises(NotAllowedError, match="origin"):
            gate.admit(headers, "127.0.0.1", scheme=scheme)


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    now = [0.0]
    rate = Rate(per_second=2, burst=3, keys=2, clock=lambda: now[0])
    assert [rate.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.wait("b") == 0  # each key has its own
    now[0] = 0.5
    assert rate.wait("a") == 0 and rate.wait("a") == 0.5
    now[0] = 100.0
    assert [rate.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    rate.wait("b")
    rate.wait("c")  # two keys are kept
    assert len(rate._buckets) == 2
