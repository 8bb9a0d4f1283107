"""`deterministic=True` through the whole model: session, offline pass, trainer and batch agree to the bit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SPEAK, TextTokenizer
from tml_lab.stream.layout import Stream
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import decision_positions, differences, offline_logits, offline_tokens, replay
from tml_lab.stream.rollout import Heard, rollout
from tml_lab.stream.session import Session

pytest.importorskip("tml_kernels.decode", reason="Numba does not run here")
TURNS = 24


@pytest.fixture(scope="module")
def exact(model: InteractionModel) -> InteractionModel:
    own = copy.deepcopy(model)
    own.deterministic = True
    return own


@contextmanager
def logits_of(model: InteractionModel) -> Iterator[list[Tensor]]:
    """The logits of every choice that is made inside the `with`, in order: `[vocab]` each."""
    seen: list[Tensor] = []
    usual = model.text_logits

    def listen(hidden: Tensor) -> Tensor:
        seen.append(usual(hidden))
        return seen[-1]

    model.text_logits = listen  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del model.text_logits


@pytest.fixture(scope="module")
def lived(
    exact: InteractionModel, tokenizer: TextTokenizer, run: Callable[..., Session]
) -> tuple[Recording, Tensor, np.ndarray]:
    """A recording with pictures, words and speech; the logits of its choices; the positions that made them."""
    with logits_of(exact) as seen:
        session = run(Session(exact, tokenizer, seed=3), TURNS)
    recording = session.recording()
    table = recording.tokens
    where = []
    for turn, position in enumerate(decision_positions(recording)):
        where.append(position)
        if recording.decisions[turn] == SPEAK:
            own = np.flatnonzero((table.turn == turn) & (table.stream == int(Stream.TEXT_OUT)))
            where += own.tolist()  # <speak> asks for a word, a word for the next one or for sound
    assert sum(d == SPEAK for d in recording.decisions) > 4 and any(recording.words)
    seen_all = torch.stack(seen)
    # after a second word nothing more is asked: no logits were computed there
    asked = [p for p in where if not _is_last_word(recording, p)]
    assert len(asked) == len(seen_all)
    return recording, seen_all, np.array(asked)


def letters(words: Iterable[str]) -> str:
    """Without the marks that say which pieces belong to one word."""
    return "".join(words).replace("##", "")


def _is_last_word(recording: Recording, position: int) -> bool:
    table = recording.tokens
    turn = table.turn[position]
    own = np.flatnonzero((table.turn == turn) & (table.stream == int(Stream.TEXT_OUT)))
    return len(own) == 3 and position == own[-1]  # <speak> and two words, the most there are


def test_the_offline_pass_has_the_sessions_logits(exact: InteractionModel, lived) -> None:
    recording, logits, where = lived
    assert torch.equal(offline_logits(recording, exact)[where], logits)
    exact.deterministic = False
    rounded = offline_logits(recording, exact)[where]
    exact.deterministic = True
    torch.testing.assert_close(rounded, logits, atol=1e-3, rtol=1e-4)
    assert not torch.equal(rounded, logits)


def test_the_trainers_log_probabilities_are_the_samplers(exact: InteractionModel, lived) -> None:
    recording, logits, where = lived
    learner = copy.deepcopy(exact).train().requires_grad_(True)
    hidden = learner.forward(learner.embed(offline_tokens(recording))[None])[0]
    log_probs = F.log_softmax(learner.text_logits(hidden)[where], dim=-1)
    sampled = torch.stack([F.log_softmax(row, dim=-1) for row in logits])
    assert log_probs.requires_grad and torch.equal(log_probs.detach(), sampled)
    log_probs.sum().backward()
    weight = dict(learner.named_parameters())["backbone.blocks.0.mlp.gate_up"].grad
    assert weight is not None and float(weight.abs().sum()) > 0


def test_a_session_is_the_same_beside_others(
    exact: InteractionModel, tokenizer: TextTokenizer, sound: Callable[..., np.ndarray]
) -> None:
    inputs = [Heard(sound(16, seed), [(seed + 1, "remind me in two seconds")]) for seed in range(4)]
    together = rollout(exact, tokenizer, inputs, seed=7, keep_voice=True)
    for row, one in enumerate(inputs):
        session = Session(exact, tokenizer, seed=7)
        typed = dict(one.typed)
        results = [session.step(turn, None, typed.get(n)) for n, turn in enumerate(np.split(one.audio, 16))]
        assert together[row].speaks == [r.decision == SPEAK for r in results]
        assert together[row].p_speak == [r.p_speak for r in results]
        assert letters(w for _, w in together[row].words) == letters(w for r in results for w in r.words)
        alone = rollout(exact, tokenizer, [one], seed=7, keep_voice=True)[0]
        assert alone.voice.keys() == together[row].voice.keys()
        assert all(torch.equal(alone.voice[t], together[row].voice[t]) for t in alone.voice)


def test_forks_replays_and_second_runs(
    exact: InteractionModel, tokenizer: TextTokenizer, run: Callable[..., Session], lived, tmp_path
) -> None:
    recording, _, _ = lived
    again = run(Session(exact, tokenizer, seed=3), TURNS)
    assert differences(again.recording(), recording) == []
    assert differences(replay(recording, exact, tokenizer), recording) == []
    recording.save(tmp_path / "r")
    assert differences(replay(Recording.load(tmp_path / "r"), exact, tokenizer), recording) == []
    twin = again.fork(at=9)
    inputs = recording.inputs
    for turn in range(9, TURNS):
        twin.step(*inputs.turn(turn))
    assert differences(twin.recording(), recording) == []


def test_the_flag_reaches_every_part(exact: InteractionModel) -> None:
    parts = [name for name, module in exact.named_modules() if "deterministic" in vars(module)]
    assert {"backbone", "flow", "embed_audio", "embed_voice", "embed_video.layers.0"} <= set(parts)
    assert exact.deterministic
    exact.deterministic = False
    assert not any(vars(exact.get_submodule(name))["deterministic"] for name in parts)
    exact.deterministic = True
