"""Sound files and microphones: an answer or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.signal.audio import StreamResampler, as_mono_16k, read_audio
from tml_lab.signal.errors import SignalError


def sine(hz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    """f32 `[n]`, level 0.5."""
    t = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def loudest_hz(samples: np.ndarray) -> float:
    """The strongest frequency of a 16 kHz sound."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_keeps_pitch_and_length(rate: int) -> None:
    sound = as_mono_16k(sine(1000, rate), rate)
    assert sound.dtype == np.float32 and sound.flags.c_contiguous
    assert abs(len(sound) - 8000) <= 2
    assert abs(loudest_hz(sound) - 1000) < 4
    assert abs(float(np.sqrt(np.mean(sound[800:-800] ** 2))) - 0.5 / np.sqrt(2)) < 5e-3


def test_16k_mono_is_left_as_it_is() -> None:
    sound = sine(300, 16_000)
    assert np.array_equal(as_mono_16k(sound, 16_000), sound)


def test_channels_are_averaged_and_integers_scaled() -> None:
    stereo = np.stack([np.full(100, 16_384), np.zeros(100)], axis=1).astype(np.int16)
    np.testing.assert_array_equal(as_mono_16k(stereo, 16_000), np.full(100, 0.25, np.float32))
    np.testing.assert_array_equal(as_mono_16k(np.array([64, 128, 192], np.uint8), 16_000), [-0.5, 0.0, 0.5])


@pytest.mark.parametrize(
    ("samples", "rate", "sentence"),
    [
        (np.zeros(10), 0, "outside 4000..384000 Hz"),
        (np.zeros(10), 16, "is it given in kHz"),
        (np.zeros(10), "16k", "must be a number of Hz"),
        (np.zeros((2, 100)), 16_000, "transpose"),
        (np.zeros((2, 3, 4)), 16_000, r"\[n\] or \[n, channels\]"),
        (np.array([0.0, np.inf]), 16_000, "first at sample 1"),
        (np.zeros(10, bool), 16_000, "type bool"),
    ],
)
def test_bad_sound_is_named(samples: np.ndarray, rate: int, sentence: str) -> None:
    with pytest.raises(SignalError, match=sentence):
        as_mono_16k(samples, rate)


def test_too_loud_is_said_and_kept() -> None:
    with pytest.warns(UserWarning, match="divide int16 values by 32768"):
        as_mono_16k(np.array([12_000.0, -3.0]), 16_000)
    with pytest.warns(UserWarning, match="clipped"):
        clipped = as_mono_16k(np.clip(3 * sine(200, 16_000), -1, 1), 16_000)
    assert clipped.max() == 1.0


def write(path: Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def test_usual_files(tmp_path: Path) -> None:
    stereo_8k = np.stack([sine(440, 8_000), sine(440, 8_000)], axis=1)
    for path in (
        write(tmp_path / "phone.wav", stereo_8k, 8_000),
        write(tmp_path / "studio.wav", sine(440, 48_000), 48_000, "FLOAT"),
        write(tmp_path / "packed.flac", sine(440, 16_000), 16_000),
    ):
        sound = read_audio(path)
        assert abs(len(sound) - 8000) <= 2 and abs(loudest_hz(sound) - 440) < 4, path


def test_odd_files(tmp_path: Path) -> None:
    assert read_audio(write(tmp_path / "one.wav", np.array([0.5]), 16_000)).shape == (1,)
    assert read_audio(write(tmp_path / "one48.wav", np.array([0.5]), 48_000)).shape[0] <= 1
    with pytest.raises(SignalError, match="without a single sample"):
        read_audio(write(tmp_path / "none.wav", np.zeros(0), 16_000))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(SignalError, match="empty file"):
        read_audio(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("Dear diary, today I renamed a letter to .wav.\n" * 20)
    with pytest.raises(SignalError, match="cannot be read as sound"):
        read_audio(tmp_path / "text.wav")
    with pytest.raises(SignalError, match="no sound file at"):
        read_audio(tmp_path / "missing.wav")
    with pytest.raises(SignalError, match="no sound file at"):
        read_audio(tmp_path)


def test_truncated_wav_gives_what_there_is(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.wav", sine(440, 16_000), 16_000).read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="ends before its stated length"):
        sound = read_audio(cut)
    assert np.array_equal(sound, read_audio(tmp_path / "whole.wav")[: len(sound)]) and len(sound) > 3900
    cut.write_bytes(whole[:20])
    with pytest.raises(SignalError):
        read_audio(cut)


@given(
    cuts=st.lists(st.integers(0, 3000), max_size=12), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000])
)
def test_stream_resampler_is_the_same_however_cut(cuts: list[int], rate: int) -> None:
    sound = sine(500, rate, 0.25)
    whole = StreamResampler(rate).push(sound, last=True)
    stream, pieces, start = StreamResampler(rate), [], 0
    for length in cuts:
        pieces.append(stream.push(sound[start : start + length]))
        start += length
    pieces.append(stream.push(sound[start:], last=True))
    assert np.array_equal(np.concatenate(pieces), whole)
    assert abs(len(whole) - 4000) <= 2


def test_stream_resampler_takes_stereo_and_refuses_noise() -> None:
    stream = StreamResampler(16_000)
    assert stream.push(np.full((10, 2), 0.5)).tolist() == [0.5] * 10
    with pytest.raises(SignalError, match="NaN"):
        stream.push(np.array([np.nan]))
    with pytest.raises(SignalError, match=r"\[n\] or \[n, channels\]"):
        stream.push(np.zeros((1, 2, 3)))
    with pytest.raises(SignalError, match="Hz"):
        StreamResampler(0)
