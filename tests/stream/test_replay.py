"""Replay and saved sessions say so when they meet other weights or unfinished recordings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.tap import Tap
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.checkpoint_hash import weights_hash
from tml_lab.stream.recording import RecordingError
from tml_lab.stream.replay import decision_positions, differences, offline_tokens, replay
from tml_lab.stream.session import Session, SessionError


@pytest.fixture(scope="module")
def saved(model, tokenizer, run, tmp_path_factory):
    session = run(Session(model, tokenizer, seed=3), 4)
    return session.save(tmp_path_factory.mktemp("session") / "four")


@pytest.fixture(scope="module")
def stranger(tokenizer):
    return new_model("pico", tokenizer, seed=9).eval().requires_grad_(False)


def test_other_weights_are_noticed(saved, model, stranger, tokenizer):
    recording = Session.load(saved, model, tokenizer).recording()
    with pytest.warns(UserWarning, match="was made with weights"):
        other = replay(recording, stranger, tokenizer)
    assert other.checkpoint["sha256"] == weights_hash(stranger) != recording.checkpoint["sha256"]
    assert differences(recording, other)
    with pytest.raises(SessionError, match="other weights"):
        Session.load(saved, stranger, tokenizer)


def test_hash_follows_the_weights(stranger):
    before = weights_hash(stranger)
    assert weights_hash(stranger) == before
    with torch.no_grad():
        stranger.unembed.weight[0, 0] += 1
        assert weights_hash(stranger) != before
        stranger.unembed.weight[0, 0] -= 1


def test_damaged_state_is_one_sentence(saved, model, tokenizer, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "state.safetensors").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"state in .* is damaged or missing"):
        Session.load(tmp_path, model, tokenizer)


def test_another_vocabulary(model):
    with pytest.raises(SessionError, match="load both from one checkpoint"):
        Session(model, TextTokenizer.build(["one"]))


def test_a_fork_must_be_replayed_before_it_is_analysed(saved, model, tokenizer):
    recording = Session.load(saved, model, tokenizer).recording()
    with pytest.raises(RecordingError, match="replay the recording first"):
        offline_tokens(recording.fork(t=0.4, inputs={"audio": np.zeros(2 * TURN_SAMPLES, np.float32)}))
    with pytest.raises(SessionError, match=r"turns 0\.\.3"):
        Session.load(saved, model, tokenizer).fork(at=9)


def test_differences_are_named(saved, model, tokenizer):
    recording = Session.load(saved, model, tokenizer).recording()
    longer = recording.fork(t=0.4)
    assert differences(recording, longer) == ["one has 4 turns, the other 2."]


def test_the_table_knows_when_each_position_begins_and_which_decide(model, tokenizer, run) -> None:
    recording = run(Session(model, tokenizer, seed=3), 24).recording()
    table = recording.tokens
    np.testing.assert_allclose(table.starts, [token.start for token in table], atol=1e-12)
    last_heard = table.where("audio_in").reshape(recording.turns, -1)[:, -1]
    assert np.array_equal(np.flatnonzero(table.decides), last_heard)
    assert np.array_equal(decision_positions(recording), last_heard)
    some = np.arange(7, len(table), 5)
    part = table.part(some)
    assert [(t.label, t.start) for t in part] == [(table[int(p)].label, table[int(p)].start) for p in some]


def test_a_watched_head_and_an_observer_share_a_layer(model, tokenizer, run) -> None:
    class Looks:
        def embedded(self, x, piece):
            return x

        def taps(self, piece):
            return {1: Tap(wants={"z"})}

        def finished(self, hidden, piece):
            return hidden

    watched = run(Session(model, tokenizer, seed=3, attention=(1, 0)), 12)
    both = Session(model, tokenizer, seed=3, attention=(1, 0))
    both.observer = Looks()
    run(both, 12)
    one, other = watched.recording().attention, both.recording().attention
    np.testing.assert_allclose(one.share, other.share, atol=1e-5)
    assert one.share.any()
