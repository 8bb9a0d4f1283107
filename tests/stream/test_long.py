"""Sessions of hours: rings that wrapped many times, positions and turns far from zero, a tape that spills."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.config import CLOCK_DIGITS, TURN_SAMPLES
from tml_lab.model.embed import ClockEmbedding, clock_digits
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import clone_state, positions_held, reach, slot_of
from tml_lab.model.text import TextTokenizer
from tml_lab.stream import columns
from tml_lab.stream.replay import decision_positions, differences, offline_logits, replay
from tml_lab.stream.session import Session
from tml_lab.stream.voice import turn_noise

HOURS = 55  # what the clock's digits hold
MANY_TURNS = 10**CLOCK_DIGITS


@pytest.fixture(scope="module")
def long_run(model: InteractionModel, tokenizer: TextTokenizer, run: Callable[..., Session]) -> Session:
    """70 turns with pictures and words: the local rings (24 tokens) wrapped seven times, the global one five."""
    return run(Session(model, tokenizer, seed=3), 70)


def lap(model: InteractionModel) -> int:
    """A number of positions after which every ring stands where it stood."""
    cfg = model.cfg
    return math.lcm(*(window + 63 for window, _ in (reach(cfg, layer) for layer in range(cfg.n_layers))))


@pytest.mark.parametrize("fused", [True, False])
@settings(max_examples=6, deadline=None)
@given(laps=st.integers(1, 2**40))
def test_far_from_the_beginning_a_turn_has_the_same_bits(
    fused: bool, laps: int, long_run: Session, model: InteractionModel, sound: Callable[..., np.ndarray]
) -> None:
    """Years away only the sinks lie further back, and they were beyond the bias already: no integer may overflow."""
    model.backbone.fused = fused
    near, far = long_run.fork(), long_run.fork()
    far.state["pos"] = far.state["pos"] + laps * lap(model)
    for audio in np.split(sound(6, seed=1), 6):
        one, other = near.step(audio, text="one two"), far.step(audio, text="one two")
        assert (one.decision, one.p_speak, one.words) == (other.decision, other.p_speak, other.words)
        assert np.array_equal(one.audio, other.audio)
    model.backbone.fused = True
    assert int(far.state["pos"]) - int(near.state["pos"]) == laps * lap(model)


def test_seven_laps_live_are_one_offline_pass(
    model: InteractionModel, tokenizer: TextTokenizer, run: Callable[..., Session]
) -> None:
    exact = copy.deepcopy(model)
    exact.deterministic = True
    recording = run(Session(exact, tokenizer, seed=3), 70).recording()
    assert len(recording.tokens) > 7 * (model.cfg.window + 63) / 2
    logits = offline_logits(recording, exact)[decision_positions(recording)]
    ids = [tokenizer.id(name) for name in ("<silent>", "<speak>", "<delegate>", "<tool>")]
    p = logits[:, ids].softmax(-1)[:, 1]
    assert np.array_equal(p.numpy(), recording.p_speak)


@given(
    st.integers(1, 12), st.integers(0, 6), st.integers(0, 2**45), st.integers(0, 400)
)  # ring, sinks, where, further on
def test_a_ring_holds_its_sinks_and_the_last_positions(ring: int, sinks: int, start: int, more: int) -> None:
    end = start + more
    held = positions_held(torch.tensor([end]), sinks + ring, sinks)[0].tolist()
    wanted = {*range(min(sinks, end)), *range(max(sinks, end - ring), end)}
    assert sorted(p for p in held if p >= 0) == sorted(wanted)
    where = slot_of(torch.tensor(sorted(wanted)), sinks + ring, sinks).tolist()
    assert [held[slot] for slot in where] == sorted(wanted)


@given(st.integers(0, MANY_TURNS - 1), st.integers(0, MANY_TURNS - 1))
def test_the_clock_tells_any_two_turns_of_55_hours_apart(one: int, other: int) -> None:
    powers = 10 ** torch.arange(CLOCK_DIGITS)
    digits = clock_digits(torch.tensor([one, other]), powers)
    assert (digits * powers).sum(1).tolist() == [one, other]
    assert MANY_TURNS * 0.2 / 3600 > HOURS


def test_after_55_hours_the_clock_begins_anew() -> None:
    clock = ClockEmbedding(8)
    turns = torch.tensor([0, 71_999, MANY_TURNS - 1])
    assert torch.equal(clock(turns + MANY_TURNS), clock(turns))
    assert not torch.equal(clock(turns[:2]), clock(turns[1:]))


@given(st.integers(0, 2**40))
def test_noise_far_from_the_beginning(turn: int) -> None:
    noise = turn_noise(3, turn)
    assert noise.isfinite().all() and torch.equal(noise, turn_noise(3, turn))
    assert not torch.equal(noise, turn_noise(3, turn + 1))


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory for a few turns only: everything spills."""
    usual = columns.Column.__init__

    def small(self, dtype, shape, spill, memory=0, zeros=0) -> None:
        usual(self, dtype, shape, spill, 0, zeros)

    monkeypatch.setattr(columns.Column, "__init__", small)
    yield


def test_a_spilled_session_is_the_same_session(
    long_run: Session, model: InteractionModel, tokenizer: TextTokenizer, run: Callable[..., Session], tight: None,
    tmp_path,
) -> None:  # fmt: skip
    spilled = run(Session(model, tokenizer, seed=3, attention=(2, 1)), 70)
    assert spilled.tape.rows.spilled and spilled.tape.reel.heard.spilled  # pyright: ignore[reportAttributeAccessIssue]
    one, other = spilled.recording(), long_run.recording()
    assert differences(one, other) == [] and list(one.tokens) == list(other.tokens)
    assert np.array_equal(one.inputs.audio, other.inputs.audio) and np.array_equal(one.voice, other.voice)
    for mine, theirs in zip(one.inputs.frames or (), other.inputs.frames or (), strict=True):
        assert (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))
    assert differences(replay(one, model, tokenizer), other) == []
    part = spilled.tape.part(20, 50)
    assert part.inputs.typed == tuple((n - 20, text) for n, text in other.inputs.typed if 20 <= n < 50)
    assert (part.decisions, part.words) == (other.decisions[20:50], other.words[20:50])
    assert np.array_equal(part.inputs.audio, other.inputs.audio[20 * TURN_SAMPLES : 50 * TURN_SAMPLES])
    assert np.array_equal(part.audio_out, other.audio_out[20 * TURN_SAMPLES : 50 * TURN_SAMPLES])
    assert [pair is None for pair in part.inputs.frames or ()] == [n % 4 != 1 for n in range(20, 50)]
    rest = [spilled.step(np.zeros(TURN_SAMPLES, np.float32)).p_speak for _ in range(3)]
    back = spilled.fork(at=70)
    assert [back.step(np.zeros(TURN_SAMPLES, np.float32)).p_speak for _ in range(3)] == rest
    assert one.turns == 70 and differences(one, other) == []  # the session went on; what was recorded did not
    spilled.save(tmp_path / "s")
    loaded, twin = Session.load(tmp_path / "s", model, tokenizer), spilled.fork()
    for session in (loaded, twin):
        session.step(np.zeros(TURN_SAMPLES, np.float32))
    assert differences(loaded.recording(), twin.recording()) == []


def test_a_watched_head_costs_as_much_as_it_sees(
    long_run: Session, model: InteractionModel, sound: Callable[..., np.ndarray]
) -> None:
    """What is pooled holds the turns in sight, not all that there were."""
    session = long_run.fork()
    session.attention = (2, 0)
    looked = session.step(sound(1)).attention
    assert looked is not None
    in_sight = len(looked.seen)  # pyright: ignore[reportAttributeAccessIssue]
    assert in_sight <= model.cfg.global_budget // 5 + 2 < session.turn
    assert looked["audio_in"].shape == (71,) and sum(w.sum() for w in looked.values()) == pytest.approx(1.0, abs=1e-5)


def test_a_fork_shares_the_past_and_nothing_else(long_run: Session, sound: Callable[..., np.ndarray]) -> None:
    before = {name: tensor.clone() for name, tensor in clone_state(long_run.state).items()}
    twin = long_run.fork()
    twin.step(sound(1, seed=2))
    assert long_run.turn == 70 and twin.turn == 71 and long_run.tape.turns == 70
    assert all(torch.equal(before[name].nan_to_num(), long_run.state[name].nan_to_num()) for name in before)
