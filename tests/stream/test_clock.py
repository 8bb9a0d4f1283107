"""The clocks: conversions agree with the spans that define them, on every turn and every instant."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.stream import clock

TURNS = st.integers(0, 10_000_000)  # 23 days
SECONDS = st.floats(0, 2e6, allow_nan=False)


def test_known_times():
    assert clock.heard_span(0) == (0.0, 0.2)
    assert clock.heard_span(3) == (0.6, 0.8)  # 0.2 * 3 would be 0.6000000000000001
    assert clock.played_span(3) == (0.8, 1.0)
    assert clock.turn_playing(0.1) is None
    assert clock.turn_playing(0.2) == 0
    assert clock.turns_covering(0) == 0
    assert clock.turns_covering(1) == 1
    assert clock.turns_covering(3201) == 2


@given(TURNS)
def test_start_of_a_span_is_inside_and_its_end_is_not(turn):
    start, end = clock.heard_span(turn)
    assert clock.turn_hearing(start) == turn
    assert clock.turn_hearing(math.nextafter(end, 0)) == turn
    assert clock.turn_hearing(end) == turn + 1
    assert clock.played_span(turn) == clock.heard_span(turn + 1)
    assert clock.turn_playing(clock.played_start(turn)) == turn


@given(SECONDS)
def test_every_instant_lies_in_the_span_of_its_turn(seconds):
    start, end = clock.heard_span(clock.turn_hearing(seconds))
    assert start <= seconds < end


@given(st.integers(0, 100_000))
def test_turns_tile_the_samples(turn):
    here, after = clock.sample_span(turn), clock.sample_span(turn + 1)
    assert here.stop == after.start and here.stop - here.start == clock.TURN_SAMPLES
    assert clock.turns_covering(here.stop) == turn + 1
    assert here.start / clock.SAMPLE_RATE == clock.heard_start(turn)


@pytest.mark.parametrize("seconds", [-0.1, math.nan, math.inf])
def test_no_time_outside_the_recording(seconds):
    with pytest.raises(ValueError, match="seconds from 0 up"):
        clock.turn_hearing(seconds)
    with pytest.raises(ValueError, match="turns count from 0"):
        clock.heard_span(-1)
