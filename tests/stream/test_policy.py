"""Policies: how far a session reaches back, what is typed in again, and that all of it can be replayed to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import positions_held
from tml_lab.model.tap import Tap
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.compact import Compact, Rule
from tml_lab.stream.policy import MEMORY, Policy, PolicyError, SinksAndWindow, Window, policy_of, with_reach
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session

TURNS = 40
TOLD = Rule("standing", "remind", ("remind me in two seconds please",))  # what `run` types in every ninth turn
COMPACT = Compact(rules=(TOLD,), standing_every=24)
POLICIES = [Window(), SinksAndWindow(tokens=40, sinks=2), COMPACT]
Run = Callable[..., Session]


def sessions(policy: Policy | None, model: InteractionModel, tokenizer: TextTokenizer, run: Run) -> Session:
    return run(Session(model, tokenizer, seed=3, policy=policy), TURNS)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_is_recorded_and_followed_again(
    policy: Policy, model: InteractionModel, tokenizer: TextTokenizer, run: Run, tmp_path: Path
) -> None:
    session = sessions(policy, model, tokenizer, run)
    recording = session.recording()
    assert differences(replay(recording, model, tokenizer), recording) == []
    loaded = Recording.load(recording.save(tmp_path / "r"))
    assert policy_of(loaded.policy) == policy and loaded.notes == recording.notes
    again = replay(loaded, model, tokenizer)
    assert differences(again, recording) == [] and again.notes == recording.notes
    assert list(again.tokens) == list(recording.tokens)

    back = Session.load(session.save(tmp_path / "s"), model, tokenizer)
    for other in (session.fork(), session.fork(at=TURNS), back):
        for _ in range(4):
            other.step(np.zeros(TURN_SAMPLES, np.float32))
    rest = [session.step(np.zeros(TURN_SAMPLES, np.float32)).p_speak for _ in range(4)]
    assert back.recording().p_speak[-4:].tolist() == pytest.approx(rest, abs=0)
    assert recording.fork(t=2.0).notes == tuple((turn, text) for turn, text in recording.notes if turn < 10)


def test_reach_is_a_view_of_the_same_weights(model: InteractionModel, tokenizer: TextTokenizer, run: Run) -> None:
    usual = sessions(None, model, tokenizer, run).recording()
    own = [(block.attn.window, block.attn.sinks) for block in model.backbone.blocks]
    short = with_reach(model, Window().config(model.cfg))
    assert short is not model and with_reach(model, model.cfg) is model
    assert [p.data_ptr() for p in short.parameters()] == [p.data_ptr() for p in model.parameters()]
    assert [(block.attn.window, block.attn.sinks) for block in model.backbone.blocks] == own
    assert differences(usual, sessions(SinksAndWindow(), model, tokenizer, run).recording()) == []
    one, other = sessions(Window(), model, tokenizer, run), sessions(None, model, tokenizer, run)
    assert one.recording().p_speak[:6].tolist() == usual.p_speak[:6].tolist()  # nothing is out of reach yet
    assert one.recording().p_speak.tolist() != usual.p_speak.tolist()
    for session, sinks in ((one, 0), (other, model.cfg.n_sinks)):
        slots = session.state["2.k"].shape[2]
        assert (int(positions_held(session.state["pos"], slots, sinks).min()) == 0) == (sinks > 0)
    with torch.no_grad():
        short.unembed.weight.mul_(1.0)  # written into: both hear it
    assert short.unembed.weight is model.unembed.weight


def test_what_was_typed_is_typed_again_in_reach_of_the_window(
    model: InteractionModel, tokenizer: TextTokenizer, run: Run
) -> None:
    session = sessions(COMPACT, model, tokenizer, run)
    recording = session.recording()
    assert recording.notes and {text for _, text in recording.notes} == set(TOLD.wordings)
    typed = {turn for turn, _ in recording.inputs.typed}
    for turn, text in recording.notes:
        assert turn not in typed  # the user's words come first
        labels = [recording.tokens[int(at)].label for at in recording.tokens.where("text_in", turn)]
        assert "".join(labels).replace("##", "") == text.replace(" ", "")
    assert int(session.state[MEMORY].numel()) < 4000


def test_without_anything_to_remember_nothing_changes(
    model: InteractionModel, tokenizer: TextTokenizer, run: Run
) -> None:
    """Listening along is only listening."""
    both = (None, Compact(standing_every=24))
    plain, listening = (sessions(policy, model, tokenizer, run).recording() for policy in both)
    assert differences(plain, listening) == [] and listening.notes == ()


class Looking:
    """An observer of the layer that the listening head reads, too; it keeps what it sees."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, []

    def embedded(self, x: torch.Tensor, piece: Any) -> torch.Tensor:
        return x

    def taps(self, piece: Any) -> dict[int, Tap]:
        self.seen.append(Tap(wants={self.name}))
        return {1: self.seen[-1]}

    def finished(self, hidden: torch.Tensor, piece: Any) -> torch.Tensor:
        return hidden


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "torch"])
@pytest.mark.parametrize("looked_at", ["resid_pre", "mlp_out"])
@pytest.mark.parametrize("watched", [None, (1, 0), (2, 0)])
def test_it_hears_the_same_while_somebody_looks_at_its_layer(
    model: InteractionModel, tokenizer: TextTokenizer, run: Run, watched: tuple[int, int] | None, looked_at: str,
    fused: bool,
) -> None:  # fmt: skip
    assert model.cfg.listen_layer == 1
    model.backbone.fused = fused
    try:
        alone, seen = (Session(model, tokenizer, seed=3, policy=COMPACT) for _ in range(2))
        seen.attention = watched
        both = Session(model, tokenizer, seed=3, policy=COMPACT, attention=watched)
        both.observer = observer = Looking(looked_at)
        for session in (alone, seen, both):
            run(session, 12)
    finally:
        model.backbone.fused = True
    for session in (seen, both):
        assert differences(session.recording(), alone.recording()) == [] or not fused or looked_at == "mlp_out"
    assert torch.equal(seen.state[MEMORY], alone.state[MEMORY])
    assert all(looked_at in tap for tap in observer.seen)


def test_bad_input_leaves_what_is_known_as_it_was(
    model: InteractionModel, tokenizer: TextTokenizer, run: Run
) -> None:
    session = sessions(COMPACT, model, tokenizer, run)
    before = session.state[MEMORY].clone()
    with pytest.raises(ValueError):
        session.step(np.zeros(7, np.float32))
    assert torch.equal(session.state[MEMORY], before)


def test_unknown_policies_are_one_sentence() -> None:
    assert policy_of({}) == SinksAndWindow()
    with pytest.raises(PolicyError, match="'elephant'"):
        policy_of({"name": "elephant"})
    with pytest.raises(PolicyError, match="other settings"):
        policy_of({"name": "window", "doors": 2})
    with pytest.raises(ValueError, match="rule of kind 'wish'"):
        Compact(rules=(Rule("wish", "x", ("a",)),))
