"""Counterfactuals: the past stays to the bit, edits replay to the bit, variants differ where they say, causes hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.cache import Cache, InterpError
from tml_lab.interp.cause import _minimize, smallest_enough, smallest_flip
from tml_lab.interp.counterfactual import counterfactual, diff, run_variants
from tml_lab.interp.edits import Ablate, Cut, Steer, edits_from_json, observe
from tml_lab.interp.rewind import Rewind
from tml_lab.interp.variants import (
    blank,
    heard_spans,
    quietest,
    shifted,
    without_each_patch,
    without_each_span,
    without_each_typed,
    without_each_word,
)
from tml_lab.stream.recording import Inputs, RecordingError
from tml_lab.stream.replay import differences, replay

AT = 8


def own(cache: Cache):
    return cache.recording, cache.model, cache.tokenizer


def test_nothing_changed_is_the_same_to_the_bit(cache: Cache) -> None:
    child = counterfactual(*own(cache), t=1.7)
    assert differences(cache.recording, child) == []
    found = diff(cache.recording, child)
    assert found.first is None and found.first_p is None and str(found) == "nothing is decided otherwise."


def test_other_sound_keeps_the_past(cache: Cache) -> None:
    loud = np.full(12 * TURN_SAMPLES, 0.3, np.float32)
    child = counterfactual(*own(cache), t=AT / 5, inputs={"audio": loud})
    assert child.turns == cache.turns
    assert differences(cache.recording.fork(AT / 5), child.fork(AT / 5)) == []
    found = diff(cache.recording, child)
    assert found.first is not None and found.first >= AT and found.first_p is not None and found.first_p >= AT
    assert f"turn {found.first}" in str(found) and found.said == (cache.recording.text, child.text)
    before, after = found.decisions[0][1:]
    assert before != after and before.split()[0] == cache.recording.decisions[found.first]


@pytest.mark.parametrize(
    "edit",
    [
        Ablate(at="L1 attn_out"),
        Ablate(at="L2E0 expert_weights @t10..t14"),
        Cut(at="L2 pattern of decision <- audio_in"),
        Steer(at="L1 resid_post of decision", vector=np.linspace(-2, 2, 64)),
    ],
)
def test_a_child_replays_under_its_edits_to_the_bit(edit, cache: Cache) -> None:
    child = counterfactual(*own(cache), t=AT / 5, edits=[edit])
    assert diff(cache.recording, child).first_p is not None
    assert np.array_equal(child.p_speak[:AT], cache.recording.p_speak[:AT])
    edits = edits_from_json(child.about["edits"])
    again = replay(child, cache.model, cache.tokenizer, observer=observe(cache.model, edits))
    assert differences(child, again) == []


def test_an_edit_alone_says_where_to_fork(cache: Cache) -> None:
    child = counterfactual(*own(cache), edits=[Ablate(at="L1 attn_out @t12..t15")])
    assert child.about["forked_at_turn"] == 12


def test_a_session_goes_back_to_any_turn(cache: Cache) -> None:
    rewind = Rewind(*own(cache), since=4)
    for turn in (19, 4, 11, 2, 13, 20):
        session = rewind.at(turn)
        assert session.turn == turn
        while session.turn < cache.turns:
            session.step(*cache.recording.inputs.turn(session.turn))
        assert differences(cache.recording, session.recording()) == []
    with pytest.raises(InterpError, match=r"no turn 21 to go back to: .* 0\.\.19"):
        rewind.at(21)


def test_blank_changes_what_it_names_alone(cache: Cache) -> None:
    inputs = cache.recording.inputs
    gone = blank(inputs, [2, 5])
    for turn in range(inputs.turns):
        audio, frames, typed = inputs.turn(turn)
        now, seen, read = gone.turn(turn)
        if turn in (2, 5):
            assert np.array_equal(now, quietest(inputs)) and read is None
            assert seen is None if frames is None else (seen == 128).all()
        else:
            assert np.array_equal(now, audio) and typed == read
            assert seen is frames if frames is None else np.array_equal(seen, frames)
    assert blank(inputs, [2], ["audio"]).typed == inputs.typed
    assert np.array_equal(blank(inputs, [2], ["typed", "frames"]).audio, inputs.audio)
    with pytest.raises(InterpError, match="no turn 20"):
        blank(inputs, [20])
    with pytest.raises(InterpError, match="no 'smell'"):
        blank(inputs, [2], ["smell"])


def test_blank_leaves_a_gap_a_gap(cache: Cache) -> None:
    inputs = cache.recording.inputs
    audio = np.array(inputs.audio)
    audio.reshape(-1, TURN_SAMPLES)[2] = 0
    again = blank(replace(inputs, audio=audio, gaps=(2,)), [2, 3], ["audio"])
    assert again.gaps == (2,) and again.turn(2)[0] is None
    assert np.array_equal(again.turn(3)[0], quietest(again))


def test_every_variant_differs_first_where_it_says(cache: Cache) -> None:
    inputs = cache.recording.inputs
    pictured = next(n for n in range(20) if inputs.turn(n)[1] is not None)
    variants = [
        *without_each_span(inputs, 6), *without_each_typed(inputs), *shifted(inputs, 6, 9, [-2, 3]),
        *without_each_patch(inputs, pictured, pictured + 1), *without_each_word(inputs, [("one", 0.5, 1.0)]),
        *without_each_word(inputs, heard_spans(cache)),
    ]  # fmt: skip
    assert len(without_each_patch(inputs, pictured, pictured + 1)) == 4
    for variant in variants:
        assert variant.inputs.turns == inputs.turns and variant.label
        for turn in range(variant.first):
            old, new = inputs.turn(turn), variant.inputs.turn(turn)
            assert np.array_equal(old[0], new[0]) and old[2] == new[2]
            assert old[1] is None if new[1] is None else np.array_equal(old[1], new[1])
    sound = np.array(inputs.audio).reshape(-1, TURN_SAMPLES)
    later = np.array(shifted(inputs, 6, 9, [3])[0].inputs.audio).reshape(-1, TURN_SAMPLES)
    assert np.array_equal(later[9:12], sound[6:9]) and np.array_equal(later[6], quietest(inputs))
    one = without_each_word(inputs, [("one", 0.5, 1.0)])[0]  # heard in turns 2, 3 and 4
    assert one.first == 2 and np.array_equal(one.inputs.audio, blank(inputs, [2, 3, 4], ["audio"]).audio)
    with pytest.raises(InterpError, match="no turn 25"):
        without_each_word(inputs, [("late", 5.0, 5.2)])
    with pytest.raises(InterpError, match="no camera ran"):
        without_each_patch(Inputs(np.array(inputs.audio)), 0, 3)
    with pytest.raises(InterpError, match="no turn 24"):
        shifted(inputs, 6, 9, [18])


def test_variants_in_one_call_are_the_counterfactuals_one_by_one(cache: Cache) -> None:
    variants = without_each_span(cache.recording.inputs, 7)
    outcomes = run_variants(*own(cache), variants, progress=False)
    assert [outcome.variant for outcome in outcomes] == variants
    for outcome in outcomes:
        inputs = outcome.variant.inputs
        alone = replay(cache.recording.fork(0.0, inputs), cache.model, cache.tokenizer)
        assert differences(outcome.recording, alone) == []
    short = run_variants(*own(cache), variants[:1], until=9, progress=False)[0]
    assert short.recording.turns == 10


def flippable(cache: Cache) -> int:
    """A turn whose decision depends on the input of the last second."""
    for turn in range(cache.turns - 1, 4, -1):
        if smallest_flip(*own(cache), turn, seconds=1.0, budget=40).turns:
            return turn
    raise AssertionError("no decision depends on what is heard")


def test_the_smallest_flip_flips_and_nothing_shorter_nearby_does(cache: Cache) -> None:
    turn = flippable(cache)
    cause = smallest_flip(*own(cache), turn, seconds=1.0)
    assert cause.sure and cause.turns and all(turn - 5 < n <= turn for n in cause.turns)
    wanted = cache.recording.decisions[turn]

    def decided(gone) -> str:
        return replay(cache.recording.fork(0.0, blank(cache.recording.inputs, gone)), *own(cache)[1:]).decisions[turn]

    assert cause.recording.decisions[turn] == decided(cause.turns) != wanted
    assert cause.divergence.first is not None and cause.runs > 0
    width = len(cause.turns) - 1
    assert all(decided(range(start, start + width)) == wanted for start in range(turn - 4, turn + 2 - width) if width)


def test_what_is_enough_is_enough(cache: Cache) -> None:
    turn = flippable(cache)
    cause = smallest_enough(*own(cache), turn, seconds=1.0)
    rest = sorted(set(range(turn - 4, turn + 1)) - set(cause.turns))
    child = replay(cache.recording.fork(0.0, blank(cache.recording.inputs, rest)), cache.model, cache.tokenizer)
    assert child.decisions[turn] == cache.recording.decisions[turn]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 30), min_size=1, max_size=6))
def test_delta_debugging_finds_what_is_needed(needed: set[int]) -> None:
    assert _minimize(list(range(31)), lambda kept: needed <= set(kept), lambda: False) == sorted(needed)


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    with pytest.raises(InterpError, match=r"begins in turn 3, and the past before turn 8 is kept: fork at 0\.6 s"):
        counterfactual(*own(cache), t=1.6, edits=[Ablate(at="L1 attn_out @t3..t10")])
    with pytest.raises(RecordingError, match="after the recording's end"):
        counterfactual(*own(cache), t=99.0)
    with pytest.raises(InterpError, match="no turn 33"):
        smallest_flip(*own(cache), 33)
    with pytest.raises(InterpError, match="no turn 33"):
        run_variants(*own(cache), [], until=33)
