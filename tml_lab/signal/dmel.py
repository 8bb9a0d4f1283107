"""Sound to dMel: what the model hears, 20 frames of 80 bins a second.

Taught in notebooks/02_sound_to_dmel.ipynb. Source: Bai et al. 2024 (arXiv 2407.15835) with Inkling's numbers
(`InklingFeatureExtractor` and `InklingProcessor` in transformers, Apache-2.0).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import N_BINS, N_MELS
from tml_lab.signal.errors import SignalError
from tml_lab.signal.mel import as_samples, mel_of_frames

HOP = 800  # samples: 50 ms, one frame
WINDOW = 1600  # samples: 100 ms, this hop and the one before it
N_FFT = WINDOW
LOG_MEL_MIN = -7.0  # log10 of the mel magnitude; quieter is heard as this
LOG_MEL_MAX = 2.0
_FLOOR = 1e-10

_WINDOW = torch.hann_window(WINDOW, periodic=True, dtype=torch.float32)
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


def log_mel(audio: Tensor | np.ndarray) -> Tensor:
    """Log-mel magnitudes, strictly causal: frame i covers the samples `[800 (i - 1), 800 (i + 1))`.

    The sound is padded with 800 zeros in front and with zeros behind to a whole number of hops.

    Args: audio f32 `[..., n]` at 16 kHz. Returns: f32 `[..., ceil(n / 800), 80]`, log10, at least -10.
    Raises: SignalError if the sound is not finite floating point.
    """
    samples = as_samples(audio)
    n = samples.shape[-1]
    n_frames = -(-n // HOP)
    if n_frames == 0:
        return samples.new_zeros(*samples.shape[:-1], 0, N_MELS)
    padded = F.pad(samples, (WINDOW - HOP, n_frames * HOP - n))
    sounds = padded.reshape(-1, (n_frames + 1) * HOP)  # [batch, 800 * (frames + 1)]
    frames = [_frames_to_log_mel(sound.unfold(0, WINDOW, HOP)) for sound in sounds]
    return torch.stack(frames).reshape(*samples.shape[:-1], n_frames, N_MELS)


def _frames_to_log_mel(frames: Tensor) -> Tensor:
    """f32 `[frames, 1600]` samples -> f32 `[frames, 80]` log10 mel."""
    return mel_of_frames(frames, _WINDOW.to(frames.device), N_FFT, _FLOOR).clamp_min(_FLOOR).log10()


def quantize(values: Tensor) -> Tensor:
    """Log-mel to the nearest of 16 centres (step 0.6 from -7 to 2).

    Args: values f32 `[...]`. Returns: uint8 `[...]`, bins 0..15.
    """
    return torch.bucketize(values, BIN_EDGES.to(values.device)).to(torch.uint8)


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
        heard = torch.cat([self._tail, samples.to(self._tail.device)])  # [800 + rest + n]
        k = heard.shape[0] // HOP - 1
        self._tail = heard[k * HOP :].clone()
        if k == 0:
            return torch.zeros(0, N_MELS, dtype=torch.uint8)
        return quantize(_frames_to_log_mel(heard[: (k + 1) * HOP].unfold(0, WINDOW, HOP)))  # [k, 80]

    def flush(self) -> Tensor:
        """End the sound: complete a started frame with zeros, as `dmel` does -> uint8 `[0 or 1, 80]`."""
        rest = self._tail.shape[0] - HOP
        last = self.push(torch.zeros(HOP - rest)) if rest else torch.zeros(0, N_MELS, dtype=torch.uint8)
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
