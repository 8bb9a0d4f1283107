"""Turns in which nothing was heard: the clock goes on, silence is heard, the recording says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.recording import SKIPPED, Inputs, Recording, RecordingError
from tml_lab.stream.replay import decision_positions, differences, offline_logits, replay
from tml_lab.stream.session import Session, SessionError

GAPS = (3, 4, 9, 20)


def with_gaps(session: Session, sound: np.ndarray, gaps=GAPS, turns: int = 24) -> Session:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    for n in range(turns):
        chunk = sound[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES]
        text = "remind me" if n in (3, 7) else None  # typed words come in a gap too
        session.step(None if n in gaps else chunk, pixels if n % 5 == 1 else None, text)
    return session


@pytest.fixture(scope="module")
def session(model, tokenizer, sound) -> Session:
    return with_gaps(Session(model, tokenizer, seed=3), sound(24))


def test_a_gap_is_a_turn_of_silence(session, model, tokenizer, sound):
    silenced = np.array(sound(24)).reshape(24, TURN_SAMPLES)
    silenced[list(GAPS)] = 0.0
    other = with_gaps(Session(model, tokenizer, seed=3), silenced.reshape(-1), gaps=())
    assert session.turn == 24 and session.recording().gaps == GAPS and other.recording().gaps == ()
    assert differences(session.recording(), other.recording()) == []
    for name, tensor in session.state.items():
        assert torch.equal(tensor.nan_to_num(9), other.state[name].nan_to_num(9)), name


def test_one_pass_over_the_recording_agrees(session, model):
    recording = session.recording()
    logits = offline_logits(recording, model)[decision_positions(recording)]
    ids = [session.tokenizer.id(name) for name in ("<silent>", "<speak>", "<delegate>", "<tool>")]
    np.testing.assert_allclose(logits[:, ids].softmax(-1)[:, 1].numpy(), recording.p_speak, atol=1e-4)


def test_replayed_forked_saved_and_loaded_it_is_the_same(session, model, tokenizer, tmp_path):
    recording = session.recording()
    again = replay(recording, model, tokenizer)
    assert again.gaps == GAPS and differences(again, recording) == []
    assert session.fork(12).recording().gaps == (3, 4, 9)
    back = Session.load(session.save(tmp_path / "r"), model, tokenizer)
    assert back.recording().gaps == GAPS
    back.step()
    assert back.recording().gaps == (*GAPS, 24)
    loaded = Recording.load(tmp_path / "r")
    assert loaded.gaps == GAPS and differences(replay(loaded, model, tokenizer), recording) == []


def test_a_recording_without_gaps_is_written_as_ever(model, tokenizer, run, tmp_path):
    folder = run(Session(model, tokenizer), 3).recording().save(tmp_path / "r")
    header = json.loads((folder / "recording.json").read_text())
    assert "gaps" not in header and Recording.load(folder).gaps == ()
    header["gaps"] = ["x"]
    (folder / "recording.json").write_text(json.dumps(header))
    with pytest.raises(RecordingError, match="not a whole header"):
        Recording.load(folder)


def test_a_counterfactual_fills_or_keeps_gaps(session, sound):
    recording = session.recording()
    assert recording.fork(t=0.8, inputs={"typed": []}).inputs.gaps == GAPS
    assert recording.fork(t=0.8, inputs={"audio": sound(20, 5)}).inputs.gaps == (3,)
    later = Inputs(np.zeros(4 * TURN_SAMPLES, np.float32), gaps=(1,))
    assert recording.fork(t=0.8, inputs=later).inputs.gaps == (3, 5)


def test_what_is_no_gap(sound):
    with pytest.raises(RecordingError, match="there is sound in it"):
        Inputs(sound(3), gaps=(1,))
    with pytest.raises(RecordingError, match=r"turns 0\.\.2"):
        Inputs(sound(3), gaps=(3,))


@pytest.fixture(scope="module")
def skipping(model, tokenizer, sound) -> Session:
    """Twelve turns, seven that are skipped, twelve more."""
    session = with_gaps(Session(model, tokenizer, seed=3), sound(24), gaps=(3,), turns=12)
    session.skip(7)
    return with_gaps(session, sound(12, seed=4), gaps=(0,), turns=12)


def test_skipped_turns_move_the_clock_and_take_no_positions(skipping, model):
    recording = skipping.recording()
    assert skipping.turn == recording.turns == recording.inputs.turns == 31
    assert recording.inputs.skipped == tuple(range(12, 19)) and recording.gaps == (3, *range(12, 20))
    table = recording.tokens
    assert not np.isin(table.turn, range(12, 19)).any() and set(np.unique(table.turn)) >= {11, 19, 30}
    assert not recording.audio_out[15 * TURN_SAMPLES : 19 * TURN_SAMPLES].any()  # the last word has rung out
    at = decision_positions(recording)
    assert len(at) == 31 and (at[12:19] == at[11]).all() and table.turn[at[19]] == 19
    logits = offline_logits(recording, model)[at]
    ids = [skipping.tokenizer.id(name) for name in ("<silent>", "<speak>", "<delegate>", "<tool>")]
    p_speak = logits[:, ids].softmax(-1)[:, 1].numpy()
    run = np.setdiff1d(np.arange(31), recording.inputs.skipped)
    np.testing.assert_allclose(p_speak[run], recording.p_speak[run], atol=1e-4)


def test_the_clock_is_all_that_tells_of_skipped_turns(model, tokenizer, sound):
    chunk = sound(1)
    after = [Session(model, tokenizer, seed=3) for _ in range(2)]
    after[0].skip(1000)
    one, other = (session.step(chunk) for session in after)
    assert (one.turn, other.turn) == (1000, 0) and one.p_speak != other.p_speak


def test_skipped_turns_are_replayed_forked_saved_and_loaded(skipping, model, tokenizer, tmp_path):
    recording = skipping.recording()
    again = replay(recording, model, tokenizer)
    assert again.inputs.skipped == recording.inputs.skipped and differences(again, recording) == []
    assert (again.tokens.turn == recording.tokens.turn).all()
    assert skipping.fork(15).recording().inputs.skipped == (12, 13, 14)
    back = Session.load(skipping.save(tmp_path / "r"), model, tokenizer)
    one, other = back.step(), skipping.fork().step()
    assert (one.turn, one.p_speak) == (other.turn, other.p_speak) == (31, other.p_speak)
    loaded = Recording.load(tmp_path / "r")
    assert differences(replay(loaded, model, tokenizer), recording) == []


def test_words_are_not_skipped(model, tokenizer):
    session = Session(model, tokenizer)
    with pytest.raises(SessionError, match="give them to the next turn"):
        session.step(SKIPPED, None, "remind me")
    assert session.turn == 0


def test_what_was_not_played_is_told(session, tmp_path, model, tokenizer):
    twin = session.fork()
    spoke = [n for n, words in enumerate(twin.recording().words) if words]
    assert len(spoke) > 1
    twin.not_played(spoke[0])
    recording = twin.recording()
    assert recording.unplayed == (spoke[0],) and len(recording.said()) == len(session.recording().said()) - len(
        recording.words[spoke[0]]
    )
    here = slice((spoke[0] + 1) * TURN_SAMPLES, (spoke[0] + 2) * TURN_SAMPLES)
    assert not recording.played_audio()[here].any() and session.recording().played_audio()[here].any()
    back = Recording.load(recording.save(tmp_path / "r"))
    assert back.unplayed == replay(back, model, tokenizer).unplayed == (spoke[0],)
    assert back.fork(t=0.0, inputs={"typed": []}).unplayed == ()
    assert Session.load(twin.save(tmp_path / "s"), model, tokenizer).recording().unplayed == (spoke[0],)
