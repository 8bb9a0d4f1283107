"""Addresses: the string form comes back, times mean what the clocks say, labels are right, mistakes are sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.interp.address import OF_HEADS, At
from tml_lab.interp.attention import attention_by
from tml_lab.interp.cache import LAYER_HOOKS, Cache, InterpError
from tml_lab.stream.tokens import STREAMS

seconds = st.floats(0, 4000, allow_nan=False)
spans = st.tuples(seconds, seconds | st.just(math.inf)).filter(lambda pair: pair[0] < pair[1])
turns = st.integers(0, 20_000)
turn_spans = st.tuples(turns, turns).filter(lambda pair: pair[0] < pair[1])


@st.composite
def addresses(draw: st.DrawFn) -> At:
    hook = draw(st.sampled_from([*LAYER_HOOKS, "embed", "final"]))
    parts: dict = {"hook": hook, "of": draw(st.sampled_from(["all", "decision", *STREAMS]))}
    if hook not in ("embed", "final"):
        parts["layer"] = draw(st.integers(0, 40))
    unit = "head" if hook in OF_HEADS else {"expert_weights": "expert", "shared_weights": "shared"}.get(hook)
    if unit and draw(st.booleans()):
        parts[unit] = draw(st.integers(0, 60))
    for prefix in ("", "src_") if hook == "pattern" else ("",):
        kind = draw(st.sampled_from(["t", "turn", None]))
        if kind:
            parts[prefix + kind] = draw((seconds | spans) if kind == "t" else (turns | turn_spans))
    if hook == "pattern" and draw(st.booleans()):
        parts["src"] = draw(st.sampled_from(STREAMS))
    if draw(st.booleans()):
        parts["clock"] = "played"
    return At(**parts)


@given(addresses())
def test_the_string_form_and_json_come_back(at: At) -> None:
    assert At.parse(str(at)) == at
    assert At.model_validate_json(at.model_dump_json()) == at


def test_the_forms_people_write() -> None:
    at = At.parse("L3H2 pattern @4.2s <- video")
    assert at == At(hook="pattern", layer=3, head=2, t=4.2, src="video_in")
    assert str(at) == "L3H2 pattern @4.2s <- video_in"
    assert At.parse("L3 resid_post of heard @..2s").t == (0.0, 2.0)
    assert At.parse("final of decision @t21..t25").turns() == (21, 25)
    assert At.read("pattern", layer=1, t=slice(2, 4), src_t=slice(3, None)).src_t == (3.0, math.inf)


@pytest.mark.parametrize(
    ("parts", "turns"),
    [
        ({"t": 4.2}, (21, 22)),
        ({"t": 4.1999}, (20, 21)),
        ({"t": (2.0, 4.0)}, (10, 20)),
        ({"t": (2.1, 2.15)}, (10, 11)),
        ({"t": 4.2, "clock": "played"}, (20, 21)),
        ({"t": (2.0, 4.0), "clock": "played"}, (9, 19)),
        ({"turn": 7}, (7, 8)),
        ({"turn": slice(3, 9)}, (3, 9)),
        ({}, None),
    ],
)
def test_seconds_name_the_turns_that_hear_or_play_them(parts: dict, turns: tuple[int, int] | None) -> None:
    assert At.read("resid_post", layer=0, **parts).turns() == turns


def test_a_cache_is_read_by_address(cache: Cache) -> None:
    table = cache.tokens
    found = cache.at("pattern", layer=2, head=1, turn=14, of="decision", src="audio", src_t=slice(1, 2))
    assert found.dims == ("query", "key") and found.shape == (1, 5 * 4)
    assert set(found["key_turn"].values) == set(range(5, 10)) and set(found["key_stream"].values) == {"audio_in"}
    row = cache.pattern(2, cache.decision_positions[14:15])[1, 0].numpy()  # [key]
    np.testing.assert_array_equal(found.values[0], row[found["key"].values])
    resid = cache.at("L1 resid_post @2.0s")
    assert set(resid["turn"].values) == {10} and np.array_equal(resid["t"], table.starts[table.turn == 10])
    assert np.array_equal(resid.values, cache["resid_post", 1].numpy()[resid["position"].values])
    assert cache.at("z", layer=1, head=0).dims == ("position", "d_head")
    assert cache.at("embed").shape == (len(table), cache.model.cfg.d_model)
    weight = cache.at("L2E1 expert_weights")
    chosen = (cache["experts", 2] == 1).any(-1).numpy()
    assert ((weight.values != 0) == chosen).all() and weight.dims == ("position",)


def test_attention_by_stream_turn_and_lag_is_one_thing(cache: Cache) -> None:
    by_stream, by_turn = attention_by(cache, "stream"), attention_by(cache, "turn")
    both, lag = attention_by(cache, "stream_turn"), attention_by(cache, "lag")
    assert by_stream.shape == (3, 2, cache.turns, 5) and by_turn.dims == ("layer", "head", "query", "turn")
    np.testing.assert_allclose(by_stream.sum("stream"), 1.0, atol=1e-5)
    np.testing.assert_allclose(both.sum("turn"), by_stream, atol=1e-5)
    np.testing.assert_allclose(both.sum("stream"), by_turn, atol=1e-5)
    np.testing.assert_allclose(lag.sum("lag"), by_stream, atol=1e-5)
    for n in (0, 3, 17):
        assert lag.values[1, 0, 17, :, n] == pytest.approx(both.values[1, 0, 17, :, 17 - n])
    one = attention_by(cache, "stream", layer=1, head=1, turn=9)
    np.testing.assert_allclose(one.values[0, 0, 0], by_stream.sel(layer=1, head=1).values[9], atol=1e-6)
    assert one["query_turn"].item() == 9
    heard = attention_by(cache, "stream", layer=0, of="audio_in")
    assert len(heard["query"]) == 4 * cache.turns


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda c: c.at("patern", layer=0), r"nothing called 'patern'; did you mean 'pattern'\?"),
        (lambda c: c.at("pattern", layer=9), r"no layer 9: the model has layers 0\.\.2"),
        (lambda c: c.at("pattern", layer=0, head=2), "no head 2 in layer 0"),
        (lambda c: c.at("L0H1 k"), "no key-value head 1"),
        (lambda c: c.at("L0E9 expert_weights"), r"no expert 9 in layer 0: it has 0\.\.3"),
        (lambda c: c.at("resid_post"), "of which layer"),
        (lambda c: c.at("resid_post", layer=0, t=99.0), r"turn 495 \(99\.0 s\) lies outside the recording: .* 0\.\.19"),
        (lambda c: c.at("pattern", layer=0, src_turn=77), "src turn 77"),
        (lambda c: c.at("resid_post", layer=0, t=1.0, turn=3), "t or turn, not both"),
        (lambda c: c.at("resid_post", layer=0, head=1), "resid_post has no heads"),
        (lambda c: c.at("z", layer=0, src="video"), "only a pattern has a src"),
        (lambda c: c.at("z", layer=0, of="ears"), "no stream is called 'ears'"),
        (lambda c: c.at("z", layer=0, t=(3.0, 2.0)), "must end after it begins"),
        (lambda c: c.at("z", layer=0, laier=1), "laier"),
        (lambda c: c.at("embed", layer=1), "outside the layers"),
        (lambda c: c.at("L0 z sideways"), "is no address; write it like"),
        (lambda c: c.at("L0 z @noon"), "the time '@noon'"),
        (lambda c: c.at("L0 z @"), "the time '@'"),
        (lambda c: c.at("L0 pattern <-"), "is no address"),
        (lambda c: attention_by(c, layer=0, head=5), "no head 5"),
    ],
)
def test_mistakes_are_one_sentence(ask, sentence: str, cache: Cache) -> None:
    with pytest.raises(InterpError, match=sentence):
        ask(cache)
