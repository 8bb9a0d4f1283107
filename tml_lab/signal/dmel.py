"""Sound to dMel: what the model hears, 20 frames of 80 bins a second.

Taught in notebooks/02_sound_to_dmel.ipynb. Source: Bai et al. 2024 (arXiv 2407.15835) with Inkling's numbers
(`InklingFeatureExtractor` and `InklingProcessor` in transformers, Apache-2.0).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import N_BINS
from tml_lab.signal.errors import SignalError
from tml_lab.signal.mel import as_samples, mel_of_frames

HOP = 800  # samples: 50 ms, one frame
WINDOW = 1600  # samples: 100 ms, this hop and the one before it
N_FFT = WINDOW
LOG_MEL_MIN = -7.0  # log10 of the mel magnitude; quieter is heard as this
LOG_MEL_MAX = 2.0
FLOOR = 1e-10

HANN = torch.hann_window(WINDOW, periodic=True, dtype=torch.float32)
# Spaced in float64 and rounded once, as Inkling does: step 0.6.
BIN_CENTERS = torch.linspace(LOG_MEL_MIN, LOG_MEL_MAX, N_BINS, dtype=torch.float64).to(torch.float32)


def nearest_center(values: Tensor) -> Tensor:
    """The rule that `quantize` follows: index of the nearest of the 16 centres, the lower one on a tie.

    Args: values f32 `[...]`, log10 mel. Returns: int64 `[...]` in 0..15.
    """
    clamped = values.clamp(LOG_MEL_MIN, LOG_MEL_MAX)
    return (clamped[..., None] - BIN_CENTERS.to(values.device)).abs().argmin(dim=-1)


def _bin_edges() -> Tensor:
    """The largest float32 that still belongs to each of the bins 0..14: f32 `[15]`.

    Looked up among the floats around each midpoint, so that `quantize` needs 15 comparisons and no distance.
    """
    midpoints = (BIN_CENTERS[:-1] + BIN_CENTERS[1:]) / 2  # [15]
    neighbours = (midpoints.view(torch.int32)[:, None] + torch.arange(-256, 257, dtype=torch.int32)).view(
        torch.float32
    )  # [15, 513] consecutive floats
    in_lower_bin = nearest_center(neighbours) == torch.arange(N_BINS - 1)[:, None]
    return neighbours.masked_fill(~in_lower_bin, -torch.inf).amax(dim=1)


BIN_EDGES = _bin_edges()


def causal_frames(samples: Tensor) -> Tensor:
    """Cut a sound into overlapping windows: frame i holds the samples `[800 (i - 1), 800 (i + 1))`.

    Zeros stand in front of the first sample and behind the last one, up to a whole number of hops.

    Args: samples f32 `[n]`. Returns: f32 `[ceil(n / 800), 1600]`, a view of overlapping windows.
    """
    n = samples.shape[0]
    n_frames = -(-n // HOP)
    if n_frames == 0:
        return samples.new_zeros(0, WINDOW)
    padded = F.pad(samples, (WINDOW - HOP, n_frames * HOP - n))  # [800 * (n_frames + 1)]
    return padded.unfold(0, WINDOW, HOP)  # [n_frames, 1600]


def advance(tail: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a stream: the windows that a new piece of sound completes, and what to keep for the next.

    Args: tail f32 `[800 + rest]`, rest < 800: the last whole hop and the samples after it; chunk f32 `[n]`.
    Returns: (frames f32 `[k, 1600]`, new tail), k = (rest + n) // 800.
    """
    heard = torch.cat([tail, chunk])  # [800 + rest + n]
    k = heard.shape[0] // HOP - 1
    frames = heard[: (k + 1) * HOP].unfold(0, WINDOW, HOP) if k else heard.new_zeros(0, WINDOW)  # [k, 1600]
    return frames, heard[k * HOP :].clone()


def frames_to_log_mel(frames: Tensor) -> Tensor:
    """Windows f32 `[frames, 1600]` samples -> f32 `[frames, 80]`, log10 mel magnitudes, at least -10."""
    return mel_of_frames(frames, HANN.to(frames.device), N_FFT, FLOOR).clamp_min(FLOOR).log10()


def log_mel(audio: Tensor | np.ndarray) -> Tensor:
    """Log-mel magnitudes, strictly causal: frame i has seen nothing after sample 800 (i + 1).

    Args: audio f32 `[..., n]` at 16 kHz. Returns: f32 `[..., ceil(n / 800), 80]`, log10, at least -10.
    Raises: SignalError if the sound is not finite floating point.
    """
    samples = as_samples(audio)
    sounds = samples[None].flatten(0, -2)  # [batch, n]
    mels = torch.stack([frames_to_log_mel(causal_frames(sound)) for sound in sounds])  # [batch, frames, 80]
    return mels.reshape(*samples.shape[:-1], *mels.shape[1:])


def quantize(values: Tensor) -> Tensor:
    """Log-mel to the nearest of 16 centres (step 0.6 from -7 to 2).

    Args: values f32 `[...]`. Returns: uint8 `[...]`, bins 0..15.
    """
    return torch.bucketize(values.float(), BIN_EDGES.to(values.device)).to(torch.uint8)


def dequantize(bins: Tensor) -> Tensor:
    """Bins back to their centres: integers 0..15 `[...]` -> f32 `[...]`, at most 0.3 off inside -7..2."""
    if bins.numel() and not 0 <= int(bins.min()) <= int(bins.max()) < N_BINS:
        raise SignalError(f"dMel bins go from 0 to {N_BINS - 1}, got {int(bins.min())}..{int(bins.max())}")
    return BIN_CENTERS.to(bins.device)[bins.long()]


def dmel(audio: Tensor | np.ndarray) -> Tensor:
    """Sound to bins in one pass: f32 `[..., n]` at 16 kHz -> uint8 `[..., ceil(n / 800), 80]`."""
    return quantize(log_mel(audio))


class DMelStream:
    """dMel of a sound that arrives in pieces; bitwise equal to `dmel` of the whole, however it is cut.

    State: the last hop and what has arrived since, f32 `[800 + rest]` samples, rest < 800.
    """

    def __init__(self) -> None:
        self._tail = torch.zeros(WINDOW - HOP)

    def push(self, chunk: Tensor | np.ndarray) -> Tensor:
        """Hear a piece of any length: f32 `[n]` -> uint8 `[k, 80]`, the frames that it completes."""
        samples = as_samples(chunk)
        if samples.ndim != 1:
            raise SignalError(f"a stream hears one sound of shape [n], got {list(samples.shape)}")
        frames, self._tail = advance(self._tail, samples.to(self._tail.device))
        return quantize(frames_to_log_mel(frames))  # [k, 80]

    def flush(self) -> Tensor:
        """End the sound: complete a started frame with zeros, as `dmel` does -> uint8 `[0 or 1, 80]`."""
        rest = self._tail.shape[0] - HOP
        last = self.push(torch.zeros(HOP - rest if rest else 0))
        self._tail = torch.zeros(WINDOW - HOP)
        return last

    def state_dict(self) -> dict[str, Tensor]:
        """The state as a dictionary of tensors."""
        return {"tail": self._tail.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state that `state_dict` gave."""
        tail = state["tail"]
        if tail.ndim != 1 or not HOP <= tail.shape[0] < WINDOW:
            raise SignalError(f"a dMel stream keeps {HOP}..{WINDOW - 1} samples, got {list(tail.shape)}")
        self._tail = tail.to(torch.float32).clone()
