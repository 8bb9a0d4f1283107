"""The output mel: 16 frames a turn, causal, and a voice range that speech fills."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.config import OUT_FRAMES_PER_TURN, OUT_HOP, TURN_SAMPLES
from tml_lab.signal.errors import SignalError
from tml_lab.signal.mel import mel_filters
from tml_lab.signal.out_mel import (
    OUT_N_FFT,
    OUT_WINDOW,
    denormalise,
    dequantize_voice,
    normalise,
    out_mel,
    quantize_voice,
)


def test_a_turn_is_sixteen_frames() -> None:
    assert out_mel(torch.zeros(TURN_SAMPLES)).shape == (OUT_FRAMES_PER_TURN, 80)
    assert out_mel(torch.zeros(3, 2, TURN_SAMPLES * 2 + 199)).shape == (3, 2, 2 * OUT_FRAMES_PER_TURN, 80)
    assert out_mel(torch.zeros(199)).shape == (0, 80)


def test_one_frame_against_numpy_in_float64() -> None:
    rng = np.random.default_rng(0)
    audio = 0.1 * rng.standard_normal(4000)
    frame = 7
    end = OUT_HOP * (frame + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(OUT_WINDOW) / OUT_WINDOW)
    spectrum = np.abs(np.fft.rfft(audio[end - OUT_WINDOW : end] * window, n=OUT_N_FFT))
    expected = np.log(mel_filters(OUT_N_FFT).double().numpy() @ spectrum)
    np.testing.assert_allclose(out_mel(audio.astype(np.float32))[frame].numpy(), expected, atol=2e-5)


@given(cut=st.integers(1, 6399))
def test_the_future_changes_nothing(cut: int) -> None:
    generator = torch.Generator().manual_seed(cut)
    audio = torch.randn(6400, generator=generator)
    other = torch.cat([audio[:cut], torch.randn(6400 - cut, generator=generator)])
    sure = cut // OUT_HOP
    assert torch.equal(out_mel(audio)[:sure], out_mel(other)[:sure])
    if cut % OUT_HOP > 20:  # the frame that covers the cut must change, or the test above would prove nothing
        assert not torch.equal(out_mel(audio)[: sure + 5], out_mel(other)[: sure + 5])


@given(turns=st.integers(1, 6), start=st.integers(1, 4))
def test_a_frame_does_not_depend_on_how_many_are_computed(turns: int, start: int) -> None:
    audio = torch.randn(TURN_SAMPLES * (turns + start), generator=torch.Generator().manual_seed(turns))
    whole = out_mel(audio)
    with_context = audio[start * TURN_SAMPLES - (OUT_WINDOW - OUT_HOP) :]
    part = out_mel(with_context)[3:]  # the first three frames lack their past
    assert torch.equal(part, whole[start * OUT_FRAMES_PER_TURN :])


def test_normalise_goes_both_ways() -> None:
    mel = torch.linspace(-11.5, 1.0, 100)
    torch.testing.assert_close(denormalise(normalise(mel)), mel)


def test_voice_bins_reach_from_silence_to_the_loudest() -> None:
    assert int(quantize_voice(normalise(out_mel(torch.zeros(3200)))).max()) == 0
    centers = dequantize_voice(torch.arange(16))
    assert torch.equal(quantize_voice(centers), torch.arange(16, dtype=torch.uint8))
    between = torch.linspace(float(centers[0]), float(centers[-1]), 1001)
    assert (dequantize_voice(quantize_voice(between)) - between).abs().max() < 0.1751
    assert quantize_voice(torch.tensor([-99.0, 99.0])).tolist() == [0, 15]
    with pytest.raises(SignalError, match=r"0 to 15, got 0\.\.17"):
        dequantize_voice(torch.tensor([0, 17]))
