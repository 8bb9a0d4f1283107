"""Streaming equals one pass, forks and replays equal the original, bad input changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.interaction import Tokens
from tml_lab.model.state import MAX_CHUNK
from tml_lab.stream.layout import Stream
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import decision_positions, differences, offline_logits, replay
from tml_lab.stream.rollout import Heard, rollout
from tml_lab.stream.session import Session, SessionError

TURNS = 60  # about 500 positions: five times round the rings of the test model


@pytest.fixture(scope="module")
def streamed(model, tokenizer, run):
    """A session with camera and typing, and the hidden states it computed: [positions fed, d_model]."""
    hidden = []
    hook = model.backbone.register_forward_hook(lambda module, args, out: hidden.append(out[0]))
    session = run(Session(model, tokenizer, seed=3), TURNS)
    hook.remove()
    return session, torch.cat(hidden)


def same(one, other) -> bool:
    return differences(one, other) == [] and one.voice.tobytes() == other.voice.tobytes()


def test_the_test_is_not_vacuous(streamed, model):
    recording = streamed[0].recording()
    assert {"<silent>", "<speak>"} <= set(recording.decisions)
    assert recording.text and 5 < sum(d == "<speak>" for d in recording.decisions) < TURNS - 5
    assert len(recording.tokens) > 3 * (model.cfg.global_budget + MAX_CHUNK)
    assert np.abs(recording.audio_out).max() > 0


def test_streaming_equals_one_offline_pass_past_the_wrap(streamed, model):
    session, hidden = streamed
    logits = offline_logits(session.recording(), model)
    live = model.text_logits(hidden).float()
    assert len(live) == len(logits) - 1  # the last token of the last turn has not been fed yet
    assert torch.isfinite(live).all()
    scale = logits.abs().max().item()
    assert (live - logits[:-1]).abs().max().item() <= 1e-5 * max(1.0, scale)


def test_offline_pass_makes_the_same_decisions(streamed, model, tokenizer):
    recording = streamed[0].recording()
    names = ("<silent>", "<speak>", "<delegate>", "<tool>")
    logits = offline_logits(recording, model)[decision_positions(recording)][
        :, [tokenizer.id(n) for n in names]
    ]
    assert tuple(names[i] for i in logits.argmax(-1).tolist()) == recording.decisions
    np.testing.assert_allclose(logits.softmax(-1)[:, 1].numpy(), recording.p_speak, atol=1e-4)


def test_sound_equals_one_offline_pass_of_the_vocoder(model, tokenizer, run):
    mels = []
    sample = model.flow.sample

    class Spy:
        def __call__(self, *args):
            mels.append(sample(*args))
            return mels[-1]

    model.flow.sample = Spy()
    try:
        session = run(Session(model, tokenizer, seed=3), 30)
    finally:
        del model.flow.sample
    recording = session.recording()
    speaking = np.array([d == "<speak>" for d in recording.decisions])
    mel = model.vocoder.silence.expand(30, 16, 80).clone()
    mel[torch.as_tensor(speaking)] = torch.cat(mels).view(-1, 16, 80)
    whole = model.vocoder(mel.reshape(1, -1, 80))[0].numpy().reshape(30, TURN_SAMPLES)
    own = recording.audio_out.reshape(30, TURN_SAMPLES)
    ringing = np.convolve(speaking, np.ones(1 + session.voice.ring_turns))[:30] > 0
    assert ringing.any() and not ringing.all()
    np.testing.assert_allclose(own[ringing], whole[ringing], atol=1e-5)
    assert not own[~ringing].any()  # exact zeros at rest


def test_replay_is_bitwise_the_same(streamed, model, tokenizer):
    recording = streamed[0].recording()
    again = replay(recording, model, tokenizer)
    assert same(recording, again)
    assert (again.tokens.token_id == recording.tokens.token_id).all()


def test_another_seed_is_heard(model, tokenizer, run):
    one = run(Session(model, tokenizer, seed=1), 8).recording()
    other = run(Session(model, tokenizer, seed=2), 8).recording()
    assert "<speak>" in one.decisions
    assert differences(one, other)


@pytest.mark.parametrize("at", [None, 0, 17, 3.45])
def test_a_fork_goes_on_as_the_original(model, tokenizer, at, run, sound):
    session = run(Session(model, tokenizer, seed=3), 25)
    fork = session.fork(at)
    turn = 25 if at is None else 17 if at else 0
    assert fork.turn == turn
    rest = session.recording().inputs
    for n in range(turn, 25):
        fork.step(*rest.turn(n))
    assert all(
        torch.equal(fork.state[k].nan_to_num(9), session.state[k].nan_to_num(9)) for k in session.state
    )
    for n in range(5):
        chunk = sound(5, seed=8)[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES]
        one, other = session.step(chunk), fork.step(chunk)
        assert (one.decision, one.words, one.p_speak) == (other.decision, other.words, other.p_speak)
        assert np.array_equal(one.audio, other.audio)
    assert same(session.recording(), fork.recording())


def test_a_fork_does_not_disturb_the_original(model, tokenizer, run):
    alone = run(Session(model, tokenizer, seed=3), 20)
    forked = run(Session(model, tokenizer, seed=3), 10)
    run(forked.fork(), 12, seed=99)
    rest = alone.recording().inputs
    for n in range(10, 20):
        forked.step(*rest.turn(n))
    assert same(alone.recording(), forked.recording())


def test_alone_equals_beside_others(model, tokenizer, run, sound):
    alone = run(Session(model, tokenizer, seed=3), 15).recording()
    many = [Session(model, tokenizer, seed=s) for s in (3, 3, 7)]
    inputs = alone.inputs
    other = sound(15, seed=6)
    for n in range(15):
        many[2].step(other[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES])
        many[0].step(*inputs.turn(n))
        many[1].step(*inputs.turn(n))
    assert same(alone, many[0].recording()) and same(alone, many[1].recording())


def test_counterfactual_keeps_the_past(streamed, model, tokenizer, sound):
    recording = streamed[0].recording()
    fork = recording.fork(t=4.2, inputs={"audio": sound(20, seed=77)})
    assert fork.turns == 21 and fork.inputs.turns == 41
    what_if = replay(fork, model, tokenizer)
    assert what_if.decisions[:21] == recording.decisions[:21]
    assert np.array_equal(what_if.p_speak[:21], recording.p_speak[:21])
    assert not np.array_equal(what_if.p_speak[21:], recording.p_speak[21:41])


def test_state_is_saved_and_loaded(model, tokenizer, tmp_path, run):
    session = run(Session(model, tokenizer, seed=3), 14)
    session.save(tmp_path / "here")
    back = Session.load(tmp_path / "here", model, tokenizer)
    assert back.turn == 14
    run(session, 10, seed=4)
    run(back, 10, seed=4)
    assert same(session.recording(), back.recording())


def test_state_is_a_dict_of_tensors_that_does_not_grow(model, tokenizer, run):
    session = run(Session(model, tokenizer, seed=3), 4)
    size = {name: tensor.shape for name, tensor in session.state.items() if name != "pending.voice"}
    run(session, 30, seed=1)
    assert all(isinstance(tensor, torch.Tensor) for tensor in session.state.values())
    assert size == {name: tensor.shape for name, tensor in session.state.items() if name != "pending.voice"}


def test_long_typed_text_takes_several_forwards(model, tokenizer):
    session = Session(model, tokenizer)
    words = "remind me in two seconds " * 18  # 90 tokens, more than a ring takes at once
    session.step(np.zeros(TURN_SAMPLES, np.float32), text=words)
    recording = session.recording()
    assert len(recording.tokens.where("text_in")) == 90 > MAX_CHUNK
    assert torch.isfinite(offline_logits(recording, model)).all()


good = np.zeros(TURN_SAMPLES, np.float32)


@pytest.mark.parametrize(
    ("audio", "frames", "text", "says"),
    [
        (good[:-1], None, None, "not 3199: cut the stream into whole turns"),
        (np.zeros(9600, np.float32), None, None, "looks like 48000 Hz"),
        (good.astype(np.int16), None, None, "divide by 32768"),
        (good.astype(np.float64), None, None, "astype"),
        (good[:, None], None, None, "one channel"),
        (list(good), None, None, "not list"),
        (
            np.where(np.arange(TURN_SAMPLES) == 7, np.nan, good).astype("float32"),
            None,
            None,
            "sample 7 of this turn is nan",
        ),
        (np.full(TURN_SAMPLES, np.inf, np.float32), None, None, "sample 0 of this turn is inf"),
        (good, np.zeros((1, 40, 40, 3), np.uint8), None, r"\[2, H, W, 3\]"),
        (good, np.zeros((2, 40, 40, 3), np.float32), None, "uint8"),
        (good, None, "a" * 501, "at most 500"),
        (good, None, 7, "must be a string"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_the_state_alone(
    model, tokenizer, audio, frames, text, says, run
):
    session = run(Session(model, tokenizer, seed=3), 6)
    before = {name: tensor.clone() for name, tensor in session.state.items()}
    with pytest.raises(ValueError, match=says) as caught:
        session.step(audio, frames, text)
    assert "\n" not in str(caught.value)
    assert session.turn == session.recording().turns == 6
    assert all(torch.equal(before[k].nan_to_num(9), session.state[k].nan_to_num(9)) for k in before)
    twin = run(Session(model, tokenizer, seed=3), 6)
    assert np.array_equal(session.step(good).audio, twin.step(good).audio)


def test_an_interrupted_turn_is_noticed_and_can_be_undone(model, tokenizer, monkeypatch, run):
    session = run(Session(model, tokenizer, seed=3), 6)

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session.voice, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            session.step(good)
    with pytest.raises(SessionError, match="fork"):
        session.step(good)
    whole = run(Session(model, tokenizer, seed=3), 6)
    assert np.array_equal(session.fork(at=session.turn).step(good).audio, whole.step(good).audio)


def test_attention_pools_to_one_and_changes_nothing(model, tokenizer, sound):
    plain, watched = Session(model, tokenizer, seed=3), Session(model, tokenizer, seed=3, attention=(2, 1))
    for n in range(12):
        chunk = sound(12)[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES]
        one, other = plain.step(chunk), watched.step(chunk)
        assert one.attention is None and other.attention is not None
        assert np.array_equal(one.audio, other.audio)
        total = sum(weights.sum() for weights in other.attention.values())
        assert all(weights.shape == (n + 1,) for weights in other.attention.values())
        assert total == pytest.approx(1.0, abs=1e-5)
        assert not other.attention["video_in"].any()  # no camera ran
    attention = watched.recording().attention
    assert attention is not None and attention.share.shape == (12, 5)
    np.testing.assert_allclose(attention.share.sum(1), 1.0, atol=1e-5)
    with pytest.raises(SessionError, match=r"heads 0\.\.1"):
        watched.attention = (0, 2)
    with pytest.raises(SessionError, match=r"layers 0\.\.2"):
        watched.attention = (3, 0)


def test_the_local_head_sees_no_further_than_its_window(model, tokenizer, run):
    session = run(Session(model, tokenizer, seed=3, attention=(0, 0)), 20, camera=False, typing=False)
    result = session.step(good)
    reach = sum(weights[: 20 - model.cfg.window // 5].sum() for weights in result.attention.values())
    assert reach == 0.0


def test_a_batch_rollout_does_what_sessions_do(model, tokenizer, sound):
    inputs = [Heard(sound(15, seed), [(2, "remind me")] if seed == 1 else []) for seed in (0, 1, 2)]
    runs = rollout(model, tokenizer, inputs, seed=3)
    for row, run_of_row in zip(inputs, runs, strict=True):
        session = Session(model, tokenizer, seed=3)
        for n in range(15):
            chunk = row.audio[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES]
            session.step(chunk, text=dict(row.typed).get(n))
        recording = session.recording()
        assert run_of_row.speaks == [d == "<speak>" for d in recording.decisions]
        spelled = "".join(word for _, word in run_of_row.words).replace("##", "")  # pieces of spelled words
        assert spelled == "".join(w for words in recording.words for w in words).replace("##", "")
        np.testing.assert_allclose(run_of_row.p_speak, recording.p_speak, atol=1e-4)


def test_empty_recording(model, tokenizer):
    recording = Session(model, tokenizer).recording()
    assert isinstance(recording, Recording)
    assert recording.turns == 0 and recording.text == "" and len(recording.tokens) == 0
    assert replay(recording, model, tokenizer).turns == 0


@torch.no_grad()
def test_one_output_token_is_embedded_as_among_others(model):
    bins = torch.randint(0, 16, (1, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    one, no = torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.bool)
    for stream, token, voice in ((Stream.TEXT_OUT, 7, None), (Stream.AUDIO_OUT, 0, bins)):
        usual = model.embed(Tokens(one * stream, one * token, one * 5, no, voice=voice))
        assert torch.equal(model.embed_output(int(stream), token, voice), usual)


def test_attention_by_patch_is_the_part_that_lies_on_this_turns_pictures(model, tokenizer, run):
    session = run(Session(model, tokenizer, seed=3, attention=(1, 0)), 12)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
    result = session.step(good, pictures)
    assert result.patches.shape == (3, 4)
    assert result.patches.sum() == pytest.approx(result.attention["video_in"][-1], abs=1e-6) and result.patches.all()
    assert session.step(good).patches is None
    session.attention = None
    assert session.step(good, pictures).patches is None
