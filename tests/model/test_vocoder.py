"""The vocoder: streaming equals offline, no sample knows the future, and the shipped weights speak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.config import OUT_FRAMES_PER_TURN, OUT_HOP, TURN_SAMPLES
from tml_lab.model.vocoder import VOCODER_DELAY, Vocoder
from tml_lab.signal.out_mel import out_mel
from tml_lab.train.vocoder import Batches, load_vocoder, sound_loss, total, train_vocoder
from tml_lab.worlds.reply_voice import reply_audio, reply_mel

SHIPPED = Path(__file__).parents[2] / "data" / "checkpoints" / "nano" / "model.safetensors"


@pytest.fixture(scope="module")
def small() -> Vocoder:
    torch.manual_seed(0)
    return Vocoder(width=24, depth=2).eval().requires_grad_(False)


def frames(n: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, n, 80, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 3))
def test_streaming_in_any_chunks_equals_offline(small: Vocoder, chunks: list[int], batch: int) -> None:
    mel = frames(sum(chunks), batch)
    state = small.new_state(batch)
    streamed = torch.cat([small.step(part, state) for part in mel.split(chunks, dim=1)], dim=1)
    offline = small(mel)
    assert offline.abs().max() > 1e-3
    torch.testing.assert_close(streamed, offline, rtol=0, atol=1e-5)


def test_full_size_turn_by_turn_equals_offline() -> None:
    torch.manual_seed(0)
    vocoder = Vocoder().eval().requires_grad_(False)
    mel = frames(8 * OUT_FRAMES_PER_TURN)
    state = vocoder.new_state()
    turns = [vocoder.step(turn, state) for turn in mel.split(OUT_FRAMES_PER_TURN, dim=1)]
    assert all(turn.shape == (1, TURN_SAMPLES) for turn in turns)
    torch.testing.assert_close(torch.cat(turns, dim=1), vocoder(mel), rtol=0, atol=1e-5)
    assert sum(p.numel() for p in vocoder.parameters()) < 1.1e6


@pytest.mark.parametrize("changed", [1, 16, 17, 39])
def test_no_sample_knows_a_later_frame(small: Vocoder, changed: int) -> None:
    mel = frames(40)
    other = mel.clone()
    other[:, changed:] += frames(40 - changed, seed=1)
    before, after = small(mel), small(other)
    assert torch.equal(before[:, : changed * OUT_HOP], after[:, : changed * OUT_HOP])
    heard = (before - after)[:, changed * OUT_HOP : (changed + 1) * OUT_HOP].abs().max()
    assert heard > 1e-5  # the changed frame itself is heard at once


def test_memory_ends_where_it_says(small: Vocoder) -> None:
    mel = frames(60)
    other = mel.clone()
    other[:, 0] += 1.0
    changed = (small(mel) - small(other)).abs()[0].nonzero().flatten()
    # the frame's own reach, and then the overlap of the last inverse transform (640 = 3 hops and a bit)
    assert changed.max() < (small.receptive_frames + 3) * OUT_HOP
    assert changed.max() >= (small.receptive_frames - 1) * OUT_HOP


def test_a_copied_state_goes_its_own_way(small: Vocoder) -> None:
    state = small.new_state()
    small.step(frames(16), state)
    fork = {name: tensor.clone() for name, tensor in state.items()}
    first = small.step(frames(16, seed=1), state)
    again = small.step(frames(16, seed=1), fork)
    assert torch.equal(first, again)
    assert all(torch.equal(state[name], fork[name]) for name in state)


def test_sequences_in_a_batch_do_not_mix(small: Vocoder) -> None:
    mel = frames(16, batch=3)
    together = small(mel)
    for i in range(3):
        torch.testing.assert_close(small(mel[i : i + 1])[0], together[i], rtol=0, atol=1e-5)


def test_wrong_shapes_are_named(small: Vocoder) -> None:
    for shape in ((16, 80), (1, 16, 79), (1, 0, 80)):
        with pytest.raises(ValueError, match=r"mel \[batch, frames, 80\]"):
            small.step(torch.zeros(shape), small.new_state())


def test_training_resumes_where_it_stopped_and_learns(tmp_path: Path) -> None:
    losses: dict[int, float] = {}
    sizes = {
        "batch": 2,
        "width": 16,
        "depth": 1,
        "save_every": 4,
        "n_passages": 1,
        "n_seconds": 4.0,
        "lr": 0.05,
    }
    whole = train_vocoder(
        8,
        out=tmp_path / "a.safetensors",
        report=lambda step, parts: losses.update({step: parts["log"]}),
        **sizes,
    )
    train_vocoder(8, stop=4, run=tmp_path / "run", **sizes)
    resumed = train_vocoder(8, run=tmp_path / "run", **sizes)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert sorted(losses) == [4, 8]
    torch.manual_seed(0)
    untrained = Vocoder(16, 1)  # the same seed: what training began with
    mel, real = Batches(5, n_passages=1, n_seconds=4.0).draw(0, 4, max_noise=0.0)
    with torch.no_grad():
        before, after = (total(sound_loss(v(mel)[:, -real.shape[1] :], real)) for v in (untrained, whole))
    assert after < before - 0.03  # eight steps of a very small one
    loaded = load_vocoder(tmp_path / "a.safetensors", width=16, depth=1)
    mel = frames(16)
    with torch.no_grad():
        assert torch.equal(loaded(mel), whole(mel))
    with pytest.raises(FileNotFoundError, match=r"tml_lab\.train\.vocoder"):
        load_vocoder(tmp_path / "none.safetensors")


def test_the_shipped_vocoder_says_a_word_close_to_its_clip() -> None:
    vocoder = load_vocoder(SHIPPED).requires_grad_(False)
    mel = torch.cat([reply_mel("seven"), reply_mel("monday")])  # [F, 80]
    sound = vocoder(mel[None])[0]  # [F * 200]
    clip = np.concatenate([reply_audio("seven"), reply_audio("monday")])
    made = out_mel(sound[VOCODER_DELAY:])  # 400 samples: two frames
    real = out_mel(clip)[: made.shape[0]]
    loud = real.mean(dim=1) > real.mean(dim=1).max() - 4.0
    error = (made - real)[loud].abs().mean().item()
    wrong = (out_mel(reply_audio("hot"))[: made.shape[0]] - real[: len(reply_mel("hot"))]).abs().mean().item()
    assert error < 0.5 < wrong  # natural-log units; another word is much farther
    silence = vocoder(vocoder.silence.expand(1, 64, 80))
    assert silence.square().mean().sqrt() < 1e-4
