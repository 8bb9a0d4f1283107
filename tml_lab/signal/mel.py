"""Mel filters, applied so that a frame's bits never depend on how many frames are computed at once.

Slaney's scale (linear to 1 kHz, logarithmic above) with area-normalised triangles over 0..8000 Hz, as in
Inkling's audio front end and in librosa's default.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import N_MELS, SAMPLE_RATE
from tml_lab.signal.errors import SignalError

_LOG_START_HZ = 1000.0  # the scale is linear below, logarithmic above
_LOG_START_MEL = 15.0
_LOG_STEP = np.log(6.4) / 27.0
_GROUP_STARTS = (0, 20, 40, 50, 60, 70, N_MELS)  # channels of similar width share one gather
_SLAB = 256  # frames computed at once: their spectra stay in the processor's cache


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Slaney's mel scale to hertz. Args and result: float64 arrays of one shape."""
    linear = 200.0 * mel / 3.0
    logarithmic = _LOG_START_HZ * np.exp(_LOG_STEP * (mel - _LOG_START_MEL))
    return np.where(mel < _LOG_START_MEL, linear, logarithmic)


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Hertz to Slaney's mel scale. Args and result: float64 arrays of one shape."""
    linear = 3.0 * hz / 200.0
    logarithmic = _LOG_START_MEL + np.log(np.maximum(hz, 1.0) / _LOG_START_HZ) / _LOG_STEP
    return np.where(hz < _LOG_START_HZ, linear, logarithmic)


@lru_cache(maxsize=4)
def mel_filters(n_fft: int) -> Tensor:
    """The triangles: f32 `[80, n_fft // 2 + 1]`, weight of each frequency bin in each mel channel.

    Source: Slaney, Auditory Toolbox (1998); computed in float64, then rounded once.
    """
    top = hz_to_mel(np.array(SAMPLE_RATE / 2))
    corners = mel_to_hz(np.linspace(0.0, float(top), N_MELS + 2))  # [82] Hz: left, peak, right corners
    hz = np.linspace(0.0, SAMPLE_RATE // 2, n_fft // 2 + 1)  # [n_freq]
    distance = corners[None, :] - hz[:, None]  # [n_freq, 82]
    widths = np.diff(corners)  # [81]
    rising = -distance[:, :-2] / widths[:-1]  # [n_freq, 80]
    falling = distance[:, 2:] / widths[1:]  # [n_freq, 80]
    triangles = np.maximum(0.0, np.minimum(rising, falling))  # [n_freq, 80]
    triangles *= 2.0 / (corners[2:] - corners[:-2])  # Slaney's area norm: wide channels do not count for more
    return torch.from_numpy(np.ascontiguousarray(triangles.T, dtype=np.float32))  # [80, n_freq]


@lru_cache(maxsize=8)
def _bands(n_fft: int, device: str) -> list[tuple[Tensor, Tensor]]:
    """For each group of channels: bins to gather `[channels * width]`, weights `[channels, width]`."""
    filters = mel_filters(n_fft)
    last_bin = filters.shape[1] - 1
    groups = []
    for start, stop in pairwise(_GROUP_STARTS):
        part = filters[start:stop]  # [channels, n_freq]
        first = (part > 0).to(torch.uint8).argmax(dim=1)  # [channels]
        width = int((part > 0).sum(dim=1).max())
        bins = (first[:, None] + torch.arange(width)).clamp(max=last_bin)  # [channels, width]
        weights = part.gather(1, bins)
        # A clamped bin would be counted twice; only its first mention may carry the weight.
        weights[:, 1:][bins[:, 1:] == bins[:, :-1]] = 0.0
        groups.append((bins.reshape(-1).to(device), weights.to(device)))
    return groups


def apply_mel_filters(magnitude: Tensor, n_fft: int) -> Tensor:
    """Sum each mel channel's bins: f32 `[frames, n_fft // 2 + 1]` -> f32 `[frames, 80]`.

    A matrix product would pick its order of additions by the number of frames, and a stream would differ from
    one offline pass in the last bit. Here each channel's bins are gathered and added in one fixed order.
    """
    channels = []
    for bins, weights in _bands(n_fft, str(magnitude.device)):
        gathered = magnitude.index_select(-1, bins).view(-1, *weights.shape)  # [frames, channels, width]
        channels.append((gathered * weights).sum(dim=-1))  # [frames, channels]
    return torch.cat(channels, dim=-1)  # [frames, 80]


def mel_of_frames(frames: Tensor, window: Tensor, n_fft: int, floor: float) -> Tensor:
    """Windowed frames to mel magnitudes, not yet logarithmic.

    Args: frames f32 `[n_frames, window]` samples (a view with overlap is fine); window f32 `[window]`;
    n_fft samples; floor: the least power of a frequency bin.
    Returns: f32 `[n_frames, 80]`.
    """
    mels = []
    for start in range(0, frames.shape[0], _SLAB):
        windowed = frames[start : start + _SLAB] * window  # [slab, window]
        spectrum = torch.view_as_real(torch.fft.rfft(windowed, n=n_fft))  # [slab, n_freq, 2]
        magnitude = spectrum.pow(2).sum(dim=-1).clamp_min(floor).sqrt()  # [slab, n_freq]
        mels.append(apply_mel_filters(magnitude, n_fft))  # [slab, 80]
    return torch.cat(mels) if mels else frames.new_zeros(0, N_MELS)


def as_samples(audio: Tensor | np.ndarray) -> Tensor:
    """Check a sound and return it as f32 `[..., n]`.

    Raises SignalError for integers, scalars, NaN and infinite values.
    """
    if isinstance(audio, np.ndarray) and not audio.flags.writeable:
        audio = audio.copy()  # torch warns about arrays it could write into by mistake
    samples = torch.as_tensor(audio)
    if not samples.is_floating_point():
        raise SignalError(
            f"sound must be floating point in -1..1, got {samples.dtype}; pass it through as_mono_16k first"
        )
    if samples.ndim == 0:
        raise SignalError("sound must have a time axis, got a single number; pass an array of samples")
    samples = samples.to(torch.float32)
    if not bool(torch.isfinite(samples).all()):
        where = int((~torch.isfinite(samples)).nonzero()[0, -1])
        raise SignalError(f"sound holds NaN or infinity, first at sample {where}; repair or cut it")
    return samples
