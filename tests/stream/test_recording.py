"""Recordings: the token table, saving and loading bit for bit, damaged files, forks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.state import clone_state
from tml_lab.stream.clock import heard_start, turn_hearing
from tml_lab.stream.layout import STREAM_NAMES, TurnTokens, lay_out
from tml_lab.stream.recording import Inputs, Recording, RecordingError
from tml_lab.stream.reels import FolderReel
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_lab.stream.turn_input import SessionError

TURNS = 12


@pytest.fixture(scope="module")
def recording(model, tokenizer, run) -> Recording:
    return run(Session(model, tokenizer, seed=3, attention=(2, 0)), TURNS).recording({"source": "a test"})


@pytest.fixture
def saved(recording, tmp_path):
    return recording.save(tmp_path / "recording")


def test_table_agrees_with_the_layout(recording):
    table = recording.tokens
    turns = []
    for n in range(recording.turns):
        rows = [table[int(p)] for p in table.where(turn=n)]
        out = [t.token_id for t in rows if t.stream == "text_out"]
        turns.append(
            TurnTokens(
                text_in=[t.token_id for t in rows if t.stream == "text_in"],
                n_patches=sum(t.stream == "video_in" for t in rows),
                decision=out[0],
                words=out[1:],
                speaks=recording.decisions[n] == "<speak>",
            )
        )
    layout = lay_out(turns, audio_id=0)
    assert np.array_equal(layout.stream, table.stream)
    assert np.array_equal(layout.turn, table.turn)
    assert np.array_equal(layout.slot, table.slot)
    assert np.array_equal(layout.token, np.maximum(table.token_id, 0))


def test_spans_and_labels(recording):
    table = recording.tokens
    heard = [table[int(p)] for p in table.where("audio_in", turn=3)]
    assert [t.label for t in heard] == ["heard 1/4", "heard 2/4", "heard 3/4", "heard 4/4"]
    assert heard[0].start == 0.6 and heard[-1].end == 0.8
    assert all(a.end == pytest.approx(b.start) for a, b in pairwise(heard))
    spoken = recording.decisions.index("<speak>")
    own = [table[int(p)] for p in table.where("audio_out", turn=spoken)]
    assert len(own) == 4 and own[0].clock == "played" and own[0].start == heard_start(spoken + 1)
    decision = table[int(table.where("text_out", turn=spoken)[0])]
    assert decision.label == "<speak>" and decision.clock == "played"
    assert [table[int(p)].label for p in table.where("text_in", turn=2)][:5] == [
        "remind",
        "me",
        "in",
        "two",
        "seconds",
    ]
    assert [table[int(p)].label for p in table.where("video_in", turn=1)] == [
        f"patch {k}" for k in (1, 2, 3, 4)
    ]
    assert table[-1].position == len(table) - 1
    with pytest.raises(IndexError, match="positions"):
        table[len(table)]
    with pytest.raises(ValueError, match="audio_in"):
        table.where("sound")


def test_saved_and_loaded_bit_for_bit(recording, saved):
    back = Recording.load(saved)
    assert differences(recording, back) == []
    assert np.array_equal(back.inputs.audio, recording.inputs.audio)
    assert back.inputs.typed == recording.inputs.typed
    for mine, theirs in zip(recording.inputs.frames, back.inputs.frames, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(mine, theirs)
    assert list(back.tokens) == list(recording.tokens)
    assert np.array_equal(back.voice, recording.voice)
    assert (back.seed, back.checkpoint, back.about) == (3, recording.checkpoint, {**recording.about})
    assert back.said() == recording.said()
    assert back.attention.head == 0 and np.array_equal(back.attention.lag, recording.attention.lag)
    assert {k: v.tolist() for k, v in back.timings.items()} == {
        k: v.tolist() for k, v in recording.timings.items()
    }


def test_a_session_on_disk_records_the_same(recording, model, tokenizer, run, tmp_path):
    session = run(Session(model, tokenizer, seed=3, reel=FolderReel(tmp_path)), TURNS)
    session.tape.reel.close()
    assert differences(recording, session.recording()) == []
    with pytest.raises(RecordingError, match="cannot be forked"):
        session.fork()


def test_a_session_on_disk_can_be_asked_for_its_recording_while_it_goes_on(model, tokenizer, run, tmp_path):
    session = Session(model, tokenizer, seed=3, reel=FolderReel(tmp_path))
    assert session.recording().turns == 0
    half = run(session, TURNS // 2, camera=False).recording()
    run(session, TURNS - TURNS // 2, seed=1, camera=False)
    session.tape.reel.close()
    whole = session.recording()
    assert half.turns == TURNS // 2 < whole.turns == TURNS and half.inputs.audio.any() and half.audio_out.any()
    assert differences(half, whole.until(TURNS // 2)) == []


def test_a_loaded_recording_can_be_saved_again(saved, tmp_path):
    again = Recording.load(saved).save(tmp_path / "again")
    assert differences(Recording.load(saved), Recording.load(again)) == []


@pytest.mark.parametrize(
    "name", ["recording.json", "turns.safetensors", "heard.wav", "own.wav", "frames.npz"]
)
def test_truncated_files_are_one_sentence(saved, name):
    file = saved / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RecordingError, match=name) as caught:
        Recording.load(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["recording.json", "turns.safetensors", "heard.wav"])
def test_missing_files_are_one_sentence(saved, name):
    (saved / name).unlink()
    with pytest.raises(RecordingError, match=name):
        Recording.load(saved)


def test_other_folders_and_versions(saved, tmp_path):
    with pytest.raises(RecordingError, match="there is no recording"):
        Recording.load(tmp_path / "nowhere")
    header = json.loads((saved / "recording.json").read_text())
    (saved / "recording.json").write_text(json.dumps({**header, "version": 99}))
    with pytest.raises(RecordingError, match="update the lab"):
        Recording.load(saved)
    (saved / "recording.json").write_text('{"a": 1}')
    with pytest.raises(RecordingError, match="not a recording"):
        Recording.load(saved)


def test_unwritable_folder(recording, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot write"):
        recording.save(tmp_path / "file" / "folder")


def test_fork_without_inputs_keeps_them_and_drops_later_outputs(recording):
    fork = recording.fork(t=1.0)
    assert fork.inputs is recording.inputs and fork.turns == 5
    assert fork.decisions == recording.decisions[:5] and len(fork.audio_out) == 5 * TURN_SAMPLES
    assert fork.tokens.turn.max() == 4
    assert len(fork.voice) == 4 * fork.decisions.count("<speak>")


def test_fork_splices_inputs(recording):
    new = np.full(2 * TURN_SAMPLES + 5, 0.25, np.float32)
    fork = recording.fork(t=1.05, inputs={"audio": new, "typed": [(1.3, "stop")]})
    assert fork.inputs.turns == 5 + 3
    assert np.array_equal(fork.inputs.audio[: 5 * TURN_SAMPLES], recording.inputs.audio[: 5 * TURN_SAMPLES])
    assert np.array_equal(fork.inputs.audio[5 * TURN_SAMPLES :][: len(new)], new)
    assert fork.inputs.typed == (recording.inputs.typed[0], (6, "stop"))
    assert (
        fork.inputs.frames[1] is not None
        and fork.inputs.frames[5] is not None
        and fork.inputs.frames[2] is None
    )
    whole = recording.fork(t=1.0, inputs=Inputs(new, ((1, "stop"),)))
    assert whole.inputs.typed == (recording.inputs.typed[0], (6, "stop")) and whole.inputs.frames[5] is None


@pytest.mark.parametrize(
    ("t", "inputs", "says"),
    [
        (99.0, None, "after the recording's end"),
        (1.0, {"sound": 1}, "unknown parts"),
        (1.0, {"typed": [(0.5, "stop")]}, "the past is kept"),
        (1.0, {"audio": np.zeros((2, 2))}, "one channel"),
    ],
)
def test_impossible_forks(recording, t, inputs, says):
    with pytest.raises(RecordingError, match=says):
        recording.fork(t=t, inputs=inputs)


@pytest.fixture(scope="module")
def whole(recording, model, tokenizer) -> Recording:
    """With sound, pictures, typed words, a gap, and turns that were never computed."""
    audio = recording.inputs.audio.copy()
    audio[4 * TURN_SAMPLES : 8 * TURN_SAMPLES] = 0.0
    inputs = replace(recording.inputs, audio=audio, gaps=(4,), skipped=(6, 7))
    panel = ({"turn": 3}, {"turn": 9})
    return replay(replace(recording, inputs=inputs, unplayed=(1, 8), panel=panel), model, tokenizer)


@given(turn=st.integers(0, TURNS))
@settings(deadline=None, max_examples=8)
def test_a_replay_of_the_past_alone_is_the_beginning_of_the_whole(whole, model, tokenizer, turn):
    past = replay(whole.until(turn), model, tokenizer)
    begins = whole.until(turn)
    assert past.turns == past.inputs.turns == turn and differences(begins, past) == []
    assert list(past.tokens) == list(begins.tokens) and np.array_equal(past.voice, begins.voice)
    assert not turn or np.array_equal(past.attention.lag, begins.attention.lag)
    assert (past.gaps, past.inputs.skipped, past.inputs.typed) == (
        begins.gaps, begins.inputs.skipped, begins.inputs.typed,
    )  # fmt: skip
    assert past.unplayed == tuple(at for at in (1, 8) if at < turn) and len(past.panel) == (turn > 3) + (turn > 9)


def test_the_past_alone_reads_pictures_when_they_are_asked_for(recording, saved, tmp_path):
    past = Recording.load(saved).until(6)
    for mine, theirs in zip(past.inputs.frames, list(recording.inputs.frames)[:6], strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(mine, theirs)
    with pytest.raises(IndexError, match="turn 6 is outside"):
        past.inputs.frames[6]
    again = Recording.load(past.save(tmp_path / "past"))
    assert differences(again, recording.until(6)) == [] and again.inputs.typed == past.inputs.typed


@pytest.mark.parametrize("turn", [-1, TURNS + 1])
def test_nothing_is_kept_of_turns_outside(recording, turn):
    with pytest.raises(RecordingError, match=f"cannot be cut at turn {turn}"):
        recording.until(turn)


def test_words_sound_through_the_turns_that_bring_no_new_word():
    decisions = ("<silent>", "<speak>", "<speak>", "<speak>", "<silent>", "<speak>")
    words = ((), ("one",), (), ("two", "three"), (), ("four",))
    said = Recording(Inputs(np.zeros(6 * TURN_SAMPLES)), decisions, np.zeros(6, np.float32), words).said()
    assert said == [
        ("one", 0.4, 0.8),
        ("two", 0.8, pytest.approx(0.9)),
        ("three", pytest.approx(0.9), 1.0),
        ("four", 1.2, 1.4),
    ]


@given(
    st.integers(0, 4 * TURN_SAMPLES),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=6),
)
def test_inputs_fill_whole_turns_and_lose_nothing(samples, typed):
    audio = np.arange(samples, dtype=np.float32)
    inputs = Inputs(audio, tuple(typed))
    turns = [inputs.turn(n) for n in range(inputs.turns)]
    assert all(sound.shape == (TURN_SAMPLES,) for sound, _, _ in turns)
    joined = np.concatenate([np.zeros(0, np.float32), *[np.asarray(sound) for sound, _, _ in turns]])
    assert np.array_equal(joined[:samples], audio) and not joined[samples:].any()
    for n, (_, _, text) in enumerate(turns):
        assert (text or "").split() == [word for turn, word in typed if turn == n], "in the order in which they came"


@given(st.integers(0, 200), st.integers(0, 3), st.booleans())
def test_layout_slots_count_within_the_turn(words, patches, speaks):
    turns = [
        TurnTokens([1] * (words % 5), patches, 2, [3] * (words % 3) if speaks else [], speaks),
        TurnTokens(),
    ]
    layout = lay_out(turns, audio_id=9)
    assert layout.first.sum() == 2
    assert [STREAM_NAMES[s] for s in layout.stream[-5:]] == ["audio_in"] * 4 + ["text_out"]
    assert turn_hearing(heard_start(int(layout.turn[-1]))) == 1


def test_a_fork_from_a_kept_state_is_the_fork_that_runs_everything_again(model, tokenizer, run):
    """To the bit: what it keeps, what it says next, and what its recording holds."""
    session = run(Session(model, tokenizer, seed=3, attention=(2, 0)), TURNS)
    inputs = session.recording().inputs
    again = Session(model, tokenizer, seed=3, attention=(2, 0))
    for turn in range(3):
        again.step(*inputs.turn(turn))
    kept = clone_state(again.state)
    long, short = session.fork(7), session.fork(7, kept)
    assert short.turn == long.turn == 7 and differences(short.recording(), long.recording()) == []
    for turn in range(7, inputs.turns):
        one, other = long.step(*inputs.turn(turn)), short.step(*inputs.turn(turn))
        assert (one.decision, one.p_speak, one.words) == (other.decision, other.p_speak, other.words)
        assert one.audio.tobytes() == other.audio.tobytes()
    for name, tensor in long.state.items():
        assert torch.equal(tensor.nan_to_num(9.0), short.state[name].nan_to_num(9.0)), name
    assert differences(short.recording(), session.recording()) == []
    assert int(kept["turn"]) == 3  # it is left as it was
    with pytest.raises(SessionError, match="cannot fork at turn 2 from a state of turn 3"):
        session.fork(2, kept)
