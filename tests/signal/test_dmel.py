"""dMel: bins equal to Inkling's extractor, and one answer however the sound is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, SAMPLE_RATE, TURN_SAMPLES
from tml_lab.signal.dmel import (
    BIN_CENTERS,
    BIN_EDGES,
    HOP,
    DMelStream,
    dequantize,
    dmel,
    log_mel,
    nearest_center,
    quantize,
)
from tml_lab.signal.errors import SignalError
from tml_lab.signal.mel import hz_to_mel, mel_filters, mel_to_hz


def tone(hz: float, seconds: float = 3.0, level: float = 0.5) -> Tensor:
    """A sine."""
    t = torch.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    return level * torch.sin(2 * torch.pi * hz * t)


def speech_like(seconds: float = 6.0, seed: int = 0) -> Tensor:
    """Voiced syllables with gliding pitch and formants, hiss between them, then silence."""
    rng = np.random.default_rng(seed)
    n = int(SAMPLE_RATE * seconds)
    t = np.arange(n) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(110 + 30 * np.sin(2 * np.pi * 0.7 * t)) / SAMPLE_RATE
    formants = (500 + 250 * np.sin(2 * np.pi * 1.3 * t), 1500 + 600 * np.sin(2 * np.pi * 0.9 * t + 1))
    voiced = np.zeros(n)
    for k in range(1, 35):
        hz = 120.0 * k
        gain = sum(np.exp(-(((hz - f) / 200) ** 2)) for f in formants)
        voiced += gain * np.sin(k * phase) / k**0.5
    syllable = np.clip(np.sin(2 * np.pi * 3.1 * t), 0, 1)
    hiss = np.clip(np.sin(2 * np.pi * 3.1 * t + np.pi), 0, 1) ** 4 * rng.standard_normal(n)
    silence = t < seconds * 0.9
    return torch.from_numpy((0.1 * voiced * syllable + 0.02 * hiss) * silence).float()


SOUNDS = {
    "white noise": lambda: 0.1 * torch.randn(8 * SAMPLE_RATE, generator=torch.Generator().manual_seed(1)),
    "tone on a frequency bin": lambda: tone(1000.0, level=0.9),
    "tone between bins": lambda: tone(440.3),
    "silence": lambda: torch.zeros(SAMPLE_RATE),
    "one click": lambda: torch.nn.functional.one_hot(torch.tensor(5000), 9000).float(),
    "square wave at full scale": lambda: tone(220.0).sign(),
    "speech-like": speech_like,
    "not a whole number of frames": lambda: speech_like(1.234),
    "one sample": lambda: torch.ones(1),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_bins_equal_inkling(name: str) -> None:
    extractor = pytest.importorskip("transformers.models.inkling.feature_extraction_inkling")
    audio = SOUNDS[name]()
    features = extractor.InklingFeatureExtractor()(
        audio.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt"
    )
    theirs = features["input_features"][0]  # [frames, 80]
    ours = log_mel(audio)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    # The rule of `InklingProcessor._extract_dmel_bins`.
    centers = torch.linspace(-7.0, 2.0, 16, dtype=torch.float64).to(torch.float32)
    their_bins = (theirs.clamp(-7.0, 2.0).unsqueeze(-1) - centers).abs().argmin(dim=-1)
    assert torch.equal(dmel(audio).long(), their_bins)


def test_filters_equal_inkling() -> None:
    extractor = pytest.importorskip("transformers.models.inkling.feature_extraction_inkling")
    assert torch.equal(mel_filters(1600), extractor.InklingFeatureExtractor().mel_filters)


def test_mel_scale_goes_both_ways() -> None:
    hz = np.linspace(0.0, 8000.0, 1001)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-9)
    assert hz_to_mel(np.array(1000.0)) == 15.0


def test_a_turn_is_four_frames() -> None:
    assert dmel(torch.zeros(TURN_SAMPLES)).shape == (FRAMES_PER_TURN, 80)
    assert dmel(torch.zeros(TURN_SAMPLES + 1)).shape == (FRAMES_PER_TURN + 1, 80)
    assert dmel(torch.zeros(0)).shape == (0, 80)


@given(cuts=st.lists(st.integers(0, 4000), max_size=20), n=st.integers(0, 20_000))
def test_any_chunking_gives_the_same_bins(cuts: list[int], n: int) -> None:
    audio = speech_like(1.5)[:n]
    whole = dmel(audio)
    stream, frames, start = DMelStream(), [], 0
    for length in [*cuts, len(audio)]:
        frames.append(stream.push(audio[start : start + length]))
        start += length
    frames.append(stream.flush())
    assert torch.equal(torch.cat(frames), whole)


@given(start=st.integers(0, 118), length=st.integers(1, 60))
def test_a_frame_does_not_depend_on_its_neighbours(start: int, length: int) -> None:
    audio = speech_like(6.0)
    whole = log_mel(audio)
    first = max(0, start - 1)  # frame i looks back one hop
    part = log_mel(audio[first * HOP : (start + length) * HOP])
    assert torch.equal(part[start - first :], whole[start : start + length])


@given(cut=st.integers(1, 15_999))
def test_the_future_changes_nothing(cut: int) -> None:
    audio = speech_like(1.0)
    other = audio.clone()
    other[cut:] = torch.randn(len(audio) - cut)
    sure = cut // HOP  # frames that end at or before the cut
    assert torch.equal(log_mel(audio)[:sure], log_mel(other)[:sure])


def test_batch_equals_one_by_one() -> None:
    sounds = torch.stack([speech_like(1.3, seed) for seed in range(3)])  # [3, n]
    together = log_mel(sounds)
    assert torch.equal(together, torch.stack([log_mel(sound) for sound in sounds]))
    assert torch.equal(log_mel(sounds[:, None]), together[:, None])


def test_stream_state_can_be_saved_midway() -> None:
    audio = speech_like(1.0)
    stream = DMelStream()
    head = stream.push(audio[:5000])
    state = stream.state_dict()
    stream.push(torch.randn(700))  # goes another way; the saved state must not follow
    resumed = DMelStream()
    resumed.load_state_dict(state)
    tail = torch.cat([resumed.push(audio[5000:]), resumed.flush()])
    assert torch.equal(torch.cat([head, tail]), dmel(audio))


def test_flush_begins_a_new_sound() -> None:
    stream = DMelStream()
    stream.push(torch.ones(1000))
    assert stream.flush().shape == (1, 80)
    assert torch.equal(stream.push(torch.zeros(HOP)), dmel(torch.zeros(HOP)))
    assert stream.flush().shape == (0, 80)


def test_edges_are_the_nearest_center_rule() -> None:
    near = (BIN_EDGES.view(torch.int32)[:, None] + torch.arange(-2000, 2001, dtype=torch.int32)).view(
        torch.float32
    )
    anywhere = torch.linspace(-12.0, 5.0, 20_001)
    for values in (near, anywhere, BIN_CENTERS, BIN_EDGES):
        assert torch.equal(quantize(values).long(), nearest_center(values))


def test_dequantize_gives_centers() -> None:
    values = torch.linspace(-7.0, 2.0, 1001)
    assert (dequantize(quantize(values)) - values).abs().max() < 0.3001
    assert torch.equal(quantize(dequantize(torch.arange(16))), torch.arange(16, dtype=torch.uint8))
    with pytest.raises(SignalError, match="0 to 15, got 16"):
        dequantize(torch.tensor([16]))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (torch.zeros(10, dtype=torch.int16), "floating point in -1..1, got torch.int16"),
        (torch.tensor([0.0, torch.nan]), "first at sample 1"),
        (torch.tensor(0.5), "time axis"),
    ],
)
def test_bad_sound_is_named(bad: Tensor, sentence: str) -> None:
    with pytest.raises(SignalError, match=sentence):
        dmel(bad)


def test_stream_refuses_a_batch_and_a_foreign_state() -> None:
    with pytest.raises(SignalError, match=r"one sound of shape \[n\]"):
        DMelStream().push(torch.zeros(2, 800))
    with pytest.raises(SignalError, match=r"keeps 800\.\.1599"):
        DMelStream().load_state_dict({"tail": torch.zeros(3)})


def test_numpy_is_welcome() -> None:
    audio = speech_like(0.4)
    frozen = audio.numpy().copy()
    frozen.flags.writeable = False
    assert torch.equal(dmel(frozen), dmel(audio))


def test_empty_sounds_have_no_frames() -> None:
    assert dmel(torch.zeros(2, 3, 0)).shape == (2, 3, 0, 80)
    assert DMelStream().push(torch.zeros(0)).shape == (0, 80)
