"""The session's clock against the world's, whatever the line does. Time is a number here, and nothing waits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.serve.catch_up import CatchUp, Next, Rule
from tml_lab.serve.faults import (
    Arrival,
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


def run(*faults: Fault, n: int = 100, cost: float = 0.02, rule: Rule | None = None, seed: int = 0):
    """Play a plan; `[(begun at, Next)]` and the keeper, at the end of the sound of `n` turns."""
    keeper: CatchUp[Arrival] = CatchUp(rule)
    waiting = list(FaultPlan(seed=seed, faults=faults).arrivals(n))
    done: list[tuple[float, Next[Arrival]]] = []
    now, end = 0.0, min(0.2 * n, float(waiting[-1].at)) + 0.1
    while now < end:
        while waiting and waiting[0].at <= now + 1e-9:
            keeper.put(waiting[0].seq, waiting.pop(0), now)
        step = keeper.next(now)
        if step is None:
            wake = keeper.wake(now)
            times = [waiting[0].at] if waiting else []
            times += [now + max(wake, 1e-3)] if wake is not None else []
            now = float(min([*times, end]))
            continue
        done.append((now, step))
        now += cost if step.kind != "skip" else 0.0
    return done, keeper


def heard(done) -> list[tuple[int, int]]:
    """`(the session's turn, the world's turn)` of every chunk that was heard."""
    return [(step.turn, step.chunk.turn) for _, step in done if step.kind == "hear"]


def turns_of(done, kind: str) -> list[int]:
    return [turn for _, step in done if step.kind == kind for turn in range(step.turn, step.turn + step.turns)]


def test_a_good_line_is_heard_at_once():
    done, keeper = run(n=20)
    assert heard(done) == [(n, n) for n in range(20)] and not any(step.late for _, step in done)
    assert all(at == pytest.approx(0.2 * (step.turn + 1)) for at, step in done)
    assert (keeper.lost, keeper.skipped, keeper.left_out) == (0, 0, 0)


def test_lost_chunks_become_gaps_and_time_stays_true():
    done, keeper = run(Loss(share=0.2))
    assert all(mine == world for mine, world in heard(done))
    gaps, skipped = turns_of(done, "gap"), turns_of(done, "skip")
    assert keeper.turn >= 97 and (keeper.lost, keeper.skipped) == (len(gaps), len(skipped))
    assert len(gaps) > 10 and 2 <= len(skipped) <= 6  # one turn in twenty is bridged
    assert sorted([*gaps, *skipped, *(mine for mine, _ in heard(done))]) == list(range(keeper.turn))
    assert all(step.turns <= Rule().bridge for _, step in done if step.kind == "skip")
    each, _ = run(Loss(share=0.2), rule=Rule(bridge=0))
    assert heard(each) == heard(done) and turns_of(each, "gap") == sorted([*gaps, *skipped])


def test_late_chunks_are_all_heard_and_none_is_a_gap():
    done, keeper = run(Delay(share=0.2, low=0.2, high=0.8))
    assert heard(done) == [(n, n) for n in range(100)][: len(heard(done))] and len(done) > 95 and keeper.lost == 0
    assert not any(step.late for _, step in done)


def test_doubled_and_swapped_chunks_are_heard_once_and_in_order():
    done, keeper = run(Double(share=0.3), Reorder(share=0.1), rule=Rule(reorder=0.35))
    assert heard(done) == [(n, n) for n in range(len(done))] and len(done) > 95 and keeper.left_out > 10


def test_a_stall_is_caught_up_with_and_what_was_said_in_it_is_late():
    done, _ = run(Stall(at=4.0, seconds=3.0))
    assert heard(done) == [(n, n) for n in range(len(done))]
    burst = [(at, step) for at, step in done if 7.0 <= at < 7.5]
    assert len(burst) >= 15 and [step.late for _, step in burst[:9]] == [True] * 9 and not burst[-1][1].late
    assert all(at < 0.2 * (step.turn + 1) + 0.05 for at, step in done if at > 7.5)  # in time again after half a second


def test_a_line_that_is_silent_for_long_is_not_waited_for():
    done, keeper = run(Stall(at=4.0, seconds=10.0), n=120)
    assert all(mine == world for mine, world in heard(done))
    gaps = turns_of(done, "gap")
    assert len(gaps) > 40 and not turns_of(done, "skip")
    live = [(at, step) for at, step in done if 9.0 < at < 13.0]
    assert len(live) > 15 and not any(step.late for _, step in live)  # what is due is said in time
    assert keeper.left_out > 40  # what arrives when its turns are over


@pytest.mark.parametrize("counted", [True, False])
def test_a_frozen_sender_costs_a_gap_as_long_as_it_was(counted):
    done, keeper = run(Freeze(at=4.0, seconds=3.0, counted=counted))
    late_to_know = [mine for mine, world in heard(done) if mine != world]
    assert late_to_know == ([] if counted else [20, 21, 22, 23])  # a second's chunks, until the sender's pace is known
    assert keeper.lost == 15 and keeper.turn >= 99
    assert heard(done)[-1][0] == heard(done)[-1][1]


def test_a_closed_lid_costs_no_turns_and_nothing_is_said_into_it():
    done, keeper = run(Freeze(at=4.0, seconds=1200.0), n=6100)
    assert all(mine == world for mine, world in heard(done))
    asleep = [step for at, step in done if 40.0 < at < 1204.0]
    assert asleep == [] and keeper.skipped > 5_500
    opened = [step for at, step in done if at >= 1204.0]
    assert opened[0].kind == "skip" and opened[0].turn + opened[0].turns == heard(done)[20][0] - Rule().most
    gaps = [step for step in opened if step.kind == "gap"]
    assert len(gaps) == Rule().most and gaps[0].late


@pytest.mark.parametrize("ppm", [500, -500, 20_000, -20_000])
def test_a_skewed_clock_is_kept_true(ppm):
    done, _ = run(Skew(ppm=ppm), n=6000 if abs(ppm) < 1000 else 1500)
    for at, step in done:
        assert abs(at - 0.2 * (step.turn + 1)) < 0.45, (at, step)
    assert bool(turns_of(done, "skip")) == (ppm > 0) and not turns_of(done, "gap")


def test_a_late_start_moves_the_clock_and_loses_nothing():
    done, keeper = run(Stall(at=0.0, seconds=2.0))
    assert heard(done) == [(n, n) for n in range(len(done))]
    assert keeper.left_out == 0 and abs(keeper.due(50) - 10.2) < 0.21


def test_a_model_that_is_too_slow_skips_to_the_present():
    done, keeper = run(n=200, cost=0.3)
    assert keeper.skipped > 40 and all(mine == world for mine, world in heard(done))
    assert max(at - 0.2 * (step.turn + 1) for at, step in done if step.kind == "hear") < 1.5
    dropped = [chunk.turn for _, step in done for chunk in step.dropped]
    assert dropped == turns_of(done, "skip")[: len(dropped)] and dropped  # they are given back: words may be in them


EVERY = (
    Loss(share=0.3, run=3.0), Delay(share=0.3, high=2.0), Delay(share=0.3, in_order=False), Double(share=0.3),
    Reorder(share=0.3), Stall(at=3.0, seconds=6.0), Freeze(at=9.0, seconds=2.5), Skew(ppm=300.0),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            EVERY
        ),
        max_size=4,
    ),
    st.integers(0, 500),
)
def test_whatever_comes_every_turn_is_run_once_and_the_clock_is_true(faults, seed):
    done, keeper = run(*faults, seed=seed, n=120)
    turns = [turn for _, step in done for turn in range(step.turn, step.turn + step.turns)]
    assert turns == list(range(keeper.turn))
    assert all(step.turn <= at / 0.2 + 1 for at, step in done)  # never ahead of the world by more than a turn
    after = [(at, step) for at, step in done if at > 22.0]
    assert all(at - keeper.due(step.turn) < Rule().hold + 0.5 for at, step in after)


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="makes no sense"):
        Rule(reorder=5.0, hold=1.0)
