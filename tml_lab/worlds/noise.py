"""Sounds that are not the speaker: white, pink, brown, hum, babble, clicks, real recordings where installed.

Each kind is a pool of 20 s made once per process from a fixed seed; an episode gets random slices of it, so
that noise costs a copy, not a synthesis.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import SPEECH_DBFS, Audio

KINDS = ("white", "pink", "brown", "hum", "babble", "clicks", "recorded")
_POOL_SECONDS = 20
_LEVEL = 10 ** (SPEECH_DBFS / 20)
_SMALL_TALK = (
    "have you seen where they put it",
    "and so we walked all the way back home",
    "I never said anything of it",
    "perhaps another cup of tea before the train",
    "it rained on them the whole long evening",
)


def _coloured(rng: np.random.Generator, n: int, slope: float) -> Audio:
    """Gaussian noise whose power falls as f**-slope: 0 white, 1 pink, 2 brown. Returns f32 [n]."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hertz = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20.0)
    return np.fft.irfft(spectrum * hertz ** (-slope / 2), n).astype(np.float32)


def _hum(rng: np.random.Generator, n: int) -> Audio:
    """Mains hum with ten harmonics, 50 Hz in one half and 60 Hz in the other, over a soft hiss."""
    time = np.arange(n) / SAMPLE_RATE
    mains = np.where(np.arange(n) < n // 2, 50.0, 60.0)
    out = 0.05 * rng.standard_normal(n)
    for k in range(1, 11):
        out += rng.uniform(0.1, 1) / k * np.sin(2 * np.pi * k * mains * time + rng.uniform(0, 2 * np.pi))
    return out.astype(np.float32)


def _clicks(rng: np.random.Generator, n: int) -> Audio:
    """Keystrokes and knocks: two or three decaying bursts a second."""
    out = 0.002 * rng.standard_normal(n).astype(np.float32)
    for start in rng.integers(0, n, int(2.5 * n / SAMPLE_RATE)):
        size = int(rng.integers(80, 1200))
        decay = np.exp(-np.arange(size) / (size / 5))
        tone = np.sin(2 * np.pi * rng.uniform(300, 4000) * np.arange(size) / SAMPLE_RATE)
        burst = (rng.standard_normal(size) + tone) * decay * rng.uniform(0.2, 1)
        out[start : start + size] += burst[: max(0, n - start)].astype(np.float32)
    return out


def _babble(rng: np.random.Generator, n: int) -> Audio:
    """Eight training voices talking at once; pink noise where no engine is installed."""
    from tml_lab.worlds.voices import VoiceBank

    try:
        bank = VoiceBank.open("train", quiet=True)
        voices = [v for v in bank.voices if v.engine == "espeak"]
    except RuntimeError:
        return _coloured(rng, n, 1.0)
    out = np.zeros(n, np.float32)
    for _ in range(8 if voices else 0):
        voice, at = voices[int(rng.integers(len(voices)))], int(rng.integers(SAMPLE_RATE))
        while at < n:
            said = bank.say(_SMALL_TALK[int(rng.integers(len(_SMALL_TALK)))], voice, rng)[: n - at]
            out[at : at + len(said)] += said * rng.uniform(0.4, 1)
            at += len(said) + int(rng.integers(SAMPLE_RATE // 2))
    return out if voices else _coloured(rng, n, 1.0)


def _recorded(rng: np.random.Generator, n: int) -> Audio:
    """Laughs, coughs, steps, keystrokes: every other recording, so that a test can use the rest."""
    from tml_lab.worlds.humans import human_noise

    clips = human_noise()[::2]
    if not clips:
        return _clicks(rng, n)
    out, at = 0.001 * rng.standard_normal(n).astype(np.float32), 0
    while at < n:
        clip = clips[int(rng.integers(len(clips)))][: 2 * SAMPLE_RATE]
        clip = clip / max(float(np.abs(clip).max()), 1e-6) * rng.uniform(0.2, 1)
        out[at : at + len(clip)] += clip[: n - at].astype(np.float32)
        at += max(len(clip), 1) + int(rng.integers(SAMPLE_RATE // 2))
    return out


@cache
def pool(kind: str) -> Audio:
    """20 s of one kind of noise, RMS -23 dBFS. Returns f32 [320000]. Raises KeyError for an unknown kind."""
    n = _POOL_SECONDS * SAMPLE_RATE
    rng = np.random.default_rng(KINDS.index(kind) if kind in KINDS else 0)
    colours = {"white": 0.0, "pink": 1.0, "brown": 2.0}
    makers = {"hum": _hum, "babble": _babble, "clicks": _clicks, "recorded": _recorded}
    made = _coloured(rng, n, colours[kind]) if kind in colours else makers[kind](rng, n)
    made = made * (_LEVEL / float(np.sqrt(np.mean(made**2)) + 1e-12))
    return np.clip(made, -1, 1).astype(np.float32)


def noises(rng: np.random.Generator, n: int, kind: str | None = None) -> Audio:
    """`n` samples of noise around -23 dBFS RMS, of one `kind` (see KINDS) or one drawn by `rng`.

    Returns f32 [n].
    """
    name = kind or KINDS[int(rng.integers(len(KINDS)))]
    whole = pool(name)
    start = int(rng.integers(len(whole)))
    return np.resize(np.roll(whole, -start) if start + n > len(whole) else whole[start:], n)
