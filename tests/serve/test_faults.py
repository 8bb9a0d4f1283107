"""A fault plan is data, the same in every run, and does to a stream what its name says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tml_lab.serve.faults import (
    Arrival,
    Cut,
    Delay,
    Double,
    Fault,
    FaultPlan,
    Freeze,
    Loss,
    Reorder,
    Skew,
    Stall,
)

EVERY = (
    Delay(share=0.1), Loss(share=0.1, run=2.0), Double(share=0.1), Reorder(share=0.1), Stall(at=2.0, seconds=3.0),
    Freeze(at=8.0, seconds=1.0, counted=True), Skew(ppm=200.0), Cut(at=60.0),
)  # fmt: skip


def arrivals(*faults: Fault, n: int = 50, seed: int = 0) -> list[Arrival]:
    return list(FaultPlan(seed=seed, faults=faults).arrivals(n))


def test_without_faults_a_chunk_comes_every_turn():
    got = arrivals(n=5)
    assert [(a.seq, a.turn) for a in got] == [(n, n) for n in range(5)]
    np.testing.assert_allclose([a.at for a in got], [0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_plan_is_data():
    plan = FaultPlan(seed=7, faults=EVERY)
    again = FaultPlan.model_validate_json(plan.model_dump_json())
    assert again == plan and list(again.arrivals(300)) == list(plan.arrivals(300))
    assert list(plan.arrivals(300)) != list(plan.model_copy(update={"seed": 8}).arrivals(300))
    with pytest.raises(ValidationError, match="low must not be above high"):
        Delay(share=0.1, low=2.0, high=1.0)
    with pytest.raises(ValidationError):
        FaultPlan.model_validate({"faults": [{"kind": "rain"}]})


def test_losses_leave_numbers_out_in_the_share_asked_for():
    got = arrivals(Loss(share=0.2, run=3.0), n=5000)
    assert all(a.seq == a.turn for a in got)
    assert 0.17 < 1 - len(got) / 5000 < 0.23
    gaps = np.diff([a.seq for a in got]) - 1
    assert 2.5 < gaps[gaps > 0].mean() < 4.5  # a run may begin right after another


def test_late_chunks_hold_up_those_behind_them_or_are_overtaken():
    queued, loose = arrivals(Delay(share=0.2)), arrivals(Delay(share=0.2, in_order=False))
    assert [a.seq for a in queued] == list(range(50))
    assert sorted(a.seq for a in loose) == list(range(50)) != [a.seq for a in loose]
    late = [a for a in loose if a.at > a.sent + 1e-9]
    assert 4 <= len(late) <= 18 and all(0.2 <= a.at - a.sent <= 0.8 for a in late)
    assert sum(a.at > a.sent + 1e-9 for a in queued) > len(late)


def test_doubled_and_reordered():
    doubled, swapped = arrivals(Double(share=0.3)), arrivals(Reorder(share=0.3))
    assert len(doubled) > 55 and sorted({a.seq for a in doubled}) == list(range(50))
    assert sorted(a.seq for a in swapped) == list(range(50)) != [a.seq for a in swapped]


def test_a_stall_ends_in_a_burst():
    got = arrivals(Stall(at=2.0, seconds=3.0))
    burst = [a for a in got if abs(a.at - 5.0) < 1e-9]
    assert [a.seq for a in got] == list(range(50)) and 15 <= len(burst) <= 16
    assert not [a for a in got if 2.0 <= a.at < 5.0 - 1e-9]


@pytest.mark.parametrize("counted", [False, True])
def test_what_is_not_captured_is_not_there(counted: bool):
    got = arrivals(Freeze(at=2.0, seconds=3.0, counted=counted))
    assert [a.turn for a in got] == [*range(10), *range(25, 50)]
    assert [a.seq for a in got] == ([a.turn for a in got] if counted else list(range(35)))
    assert all(abs(a.at - 0.2 * (a.turn + 1)) < 1e-9 for a in got)


def test_a_slow_clock_drifts():
    got = arrivals(Skew(ppm=10_000), n=500)  # one per cent
    assert got[-1].at == pytest.approx(101.0) and [a.seq for a in got] == list(range(500))


def test_nothing_comes_after_a_cut():
    assert [a.seq for a in arrivals(Cut(at=2.1))] == list(range(10))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(EVERY), max_size=8), st.integers(0, 1000))
def test_arrivals_are_in_order_of_time_and_after_they_were_sent(faults, seed):
    got = list(FaultPlan(seed=seed, faults=tuple(faults)).arrivals(80))
    assert all(a.at <= b.at for a, b in pairwise(got))
    assert all(a.at >= a.sent - 1e-9 for a in got)
