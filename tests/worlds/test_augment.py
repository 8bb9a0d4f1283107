"""Channels keep time and level, and do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.worlds import augment as augment_module
from tml_lab.worlds.augment import apply_channel, augment, distant, draw_channel, room_response
from tml_lab.worlds.clips import speech_dbfs
from tml_lab.worlds.noise import KINDS, noises

RATE = 16000


def burst(n: int = 3 * RATE, at: int = RATE) -> np.ndarray:
    """A second of noise-like speech stand-in, then silence."""
    audio = np.zeros(n, np.float32)
    audio[at : at + RATE] = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    return audio


@pytest.mark.parametrize("seed", range(8))
def test_length_range_and_repeatability(seed: int) -> None:
    audio = burst()
    heard = augment(audio, np.random.default_rng(seed))
    assert heard.shape == audio.shape and heard.dtype == np.float32
    assert np.isfinite(heard).all() and np.abs(heard).max() <= 1.0
    assert np.array_equal(heard, augment(audio, np.random.default_rng(seed)))
    assert np.array_equal(audio, burst())  # the input is left alone


@pytest.mark.parametrize("seed", range(8))
def test_onset_stays_in_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heard = apply_channel(burst(), draw_channel(rng, snr_db=60.0), rng)
    loud = np.flatnonzero(np.abs(heard) > 0.3 * np.abs(heard).max())
    assert abs(int(loud[0]) - RATE) < 0.012 * RATE


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "babble"])
def test_noise_kinds_have_level(kind: str) -> None:
    noise = noises(np.random.default_rng(1), 5 * RATE, kind)
    assert noise.shape == (5 * RATE,) and np.isfinite(noise).all()
    assert -45 < 20 * np.log10(np.sqrt(np.mean(noise**2))) < -10


def test_signal_to_noise_ratio_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    white = lambda rng, n: 0.07 * rng.standard_normal(n).astype(np.float32)  # noqa: E731
    monkeypatch.setattr(augment_module, "noises", white)
    plain = augment_module.Channel(_identity(), False, 0, 0.0, -20.0, 0.0, 10.0)
    heard = apply_channel(burst(), plain, np.random.default_rng(0))
    speech, rest = heard[RATE : 2 * RATE], heard[2 * RATE :]
    ratio = 10 * np.log10((np.mean(speech**2) - np.mean(rest**2)) / np.mean(rest**2))
    assert abs(ratio - 10) < 0.5


def _identity() -> np.ndarray:
    kernel = np.zeros(4096, np.float32)
    kernel[64] = 1
    return kernel


def test_telephone_has_no_highs() -> None:
    rng = np.random.default_rng(0)
    channel = next(c for c in (draw_channel(rng, 60.0) for _ in range(50)) if c.telephone)
    heard = apply_channel(burst(), channel, rng)
    power = np.abs(np.fft.rfft(heard)) ** 2
    hertz = np.fft.rfftfreq(len(heard), 1 / RATE)
    assert power[hertz > 4200].sum() < 0.02 * power[(hertz > 500) & (hertz < 3200)].sum()


def test_room_decays_as_asked() -> None:
    room = room_response(np.random.default_rng(0), decay=0.2, direct_db=6.0)
    assert room[0] == np.abs(room).max() and abs(float(np.sum(room**2)) - 1) < 1e-4
    rest = float(np.sum(room[1:] ** 2))
    assert abs(10 * np.log10(room[0] ** 2 / rest) - 6) < 0.1
    assert np.sum(room[:1000] ** 2) > 30 * np.sum(room[2200:] ** 2)


def test_gain_is_applied_and_silence_gets_only_noise() -> None:
    channel = augment_module.Channel(_identity(), False, 0, 0.0, -20.0, 0.0, float("inf"))
    assert abs(speech_dbfs(apply_channel(burst(), channel, np.random.default_rng(0))) + 20) < 1.0
    silent = augment(np.zeros(RATE, np.float32), np.random.default_rng(0), snr_db=20)
    assert 0 < np.sqrt(np.mean(silent**2)) < 0.1


def test_distant_is_quieter_and_in_time() -> None:
    far = distant(burst(), np.random.default_rng(0))
    assert speech_dbfs(burst()) - speech_dbfs(far) > 7
    assert np.abs(far[: RATE - 200]).max() < 0.05 * np.abs(far).max()
