"""The finer mel that the model speaks in: 80 frames a second, 16 a turn.

The dMel that it hears, 20 frames a second, is too coarse to be turned back into sound.
What Thinking Machines use for speech out is not published: this is our reconstruction, and says so.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import N_BINS, N_MELS, OUT_HOP
from tml_lab.signal.errors import SignalError
from tml_lab.signal.mel import as_samples, mel_of_frames

OUT_WINDOW = 800  # samples: 50 ms
OUT_N_FFT = 1024
_POWER_FLOOR = 1e-10
_MEL_FLOOR = 1e-5

_WINDOW = torch.hann_window(OUT_WINDOW, periodic=True, dtype=torch.float32)

# Mean and deviation over 148 s of recorded and synthetic speech at -23 dBFS (prompts of one speaker,
# three flite and two espeak-ng voices) were -5.89 and 2.31. Rounded and fixed: checkpoints depend on them.
MEL_MEAN = -6.0
MEL_STD = 2.3
# Centres of the 16 bins, step 0.35: from the floor (silence is bin 0) to the loudest speech measured.
VOICE_MIN = -2.4
VOICE_MAX = 2.85


def out_mel(audio: Tensor | np.ndarray) -> Tensor:
    """Natural-log mel magnitudes, strictly causal: frame i covers samples `[200 (i + 1) - 800, 200 (i + 1))`.

    Zeros stand before the first sample; samples beyond the last whole hop are left out. A frame's centre lies
    400 samples (25 ms) before its end, so sound made from frames up to i is sure only up to about there.

    Args: audio f32 `[..., n]` at 16 kHz. Returns: f32 `[..., n // 200, 80]`: 16 frames for each turn of 3200.
    Raises: SignalError if the sound is not finite floating point.
    """
    samples = as_samples(audio)
    n_frames = samples.shape[-1] // OUT_HOP
    if n_frames == 0:
        return samples.new_zeros(*samples.shape[:-1], 0, N_MELS)
    whole = samples[..., : n_frames * OUT_HOP]
    padded = F.pad(whole, (OUT_WINDOW - OUT_HOP, 0))  # [..., 600 + n]
    window = _WINDOW.to(samples.device)
    mels = [
        mel_of_frames(sound.unfold(0, OUT_WINDOW, OUT_HOP), window, OUT_N_FFT, _POWER_FLOOR)
        for sound in padded.reshape(-1, padded.shape[-1])
    ]
    return torch.stack(mels).reshape(*samples.shape[:-1], n_frames, N_MELS).clamp_min(_MEL_FLOOR).log()


def normalise(mel: Tensor) -> Tensor:
    """Natural-log mel to about zero mean and unit variance over speech: `[...]` -> `[...]`."""
    return (mel - MEL_MEAN) / MEL_STD


def denormalise(mel: Tensor) -> Tensor:
    """Undo `normalise`: `[...]` -> `[...]`."""
    return mel * MEL_STD + MEL_MEAN


def quantize_voice(mel: Tensor) -> Tensor:
    """Normalised mel to the nearest of 16 evenly spaced centres, for the model's hearing of its own voice.

    Args: mel f32 `[...]`, as from `normalise`. Returns: uint8 `[...]`, bins 0..15.
    """
    step = (VOICE_MAX - VOICE_MIN) / (N_BINS - 1)
    return ((mel - VOICE_MIN) / step).round().clamp(0, N_BINS - 1).to(torch.uint8)


def dequantize_voice(bins: Tensor) -> Tensor:
    """Bins back to normalised mel values: integers 0..15 `[...]` -> f32 `[...]`."""
    if bins.numel() and not 0 <= int(bins.min()) <= int(bins.max()) < N_BINS:
        raise SignalError(f"voice bins go from 0 to {N_BINS - 1}, got {int(bins.min())}..{int(bins.max())}")
    step = (VOICE_MAX - VOICE_MIN) / (N_BINS - 1)
    return bins.to(torch.float32) * step + VOICE_MIN
