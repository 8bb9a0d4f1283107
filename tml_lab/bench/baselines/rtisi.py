"""The vocoder that needs no training: mel pseudo-inverse, then online Griffin-Lim with look-ahead (RTISI-LA).

Zhu, Beauregard & Wyse 2007, "Real-time signal estimation from modified short-time Fourier transform magnitude
spectra": a frame's phase is refined while the next few frames are known, then it is fixed for good.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_lab.config import OUT_HOP
from tml_lab.signal.mel import mel_filters
from tml_lab.signal.out_mel import OUT_N_FFT, OUT_WINDOW, denormalise

OVERLAP = OUT_WINDOW // OUT_HOP  # 4 frames share each sample
LOOK_AHEAD = 3  # frames known beyond the one that is fixed


@lru_cache(maxsize=1)
def inverse_filters() -> Tensor:
    """Moore-Penrose inverse of the mel filters: f32 `[513, 80]`."""
    return torch.linalg.pinv(mel_filters(OUT_N_FFT).double()).float()


def magnitudes(mel: Tensor) -> Tensor:
    """Normalised output mel `[F, 80]` -> spectral magnitudes f32 `[F, 513]`, negative ones cut to zero."""
    return (denormalise(mel).exp() @ inverse_filters().T).clamp_min(0.0)


class Rtisi:
    """Sound from mel, frame by frame. The sample of the mel's time t comes out `delay` samples later.

    Args: iterations: refinements of the look-ahead frames for each new frame; look_ahead: frames.
    """

    def __init__(self, iterations: int = 8, look_ahead: int = LOOK_AHEAD) -> None:
        self.iterations = iterations
        self.look_ahead = look_ahead
        self.delay = OUT_WINDOW - OUT_HOP + look_ahead * OUT_HOP
        self.window = torch.hann_window(OUT_WINDOW)
        # With this synthesis window the overlapped squares of a stationary sound add up to one.
        self.synthesis = self.window / (self.window.square().reshape(OVERLAP, OUT_HOP).sum(0).repeat(OVERLAP))
        self.known: list[Tensor] = []  # magnitudes of the frames not fixed yet, each [513]
        self.past = torch.zeros(OUT_WINDOW - OUT_HOP)  # overlap of the fixed frames
        self.guess = torch.zeros(0, OUT_WINDOW)  # present waveforms of the frames not fixed, [frames, 800]

    def _lay(self, frames: Tensor) -> Tensor:
        """Fixed past plus waveforms `[k, 800]`, overlap-added: `[600 + 200 k]`."""
        k = frames.shape[0]
        length = (k - 1) * OUT_HOP + OUT_WINDOW
        columns = frames.T[None]  # [1, 800, k]
        laid = F.fold(columns, (1, length), (1, OUT_WINDOW), stride=(1, OUT_HOP)).reshape(length)
        return laid + F.pad(self.past, (0, length - len(self.past)))

    def push(self, magnitude: Tensor) -> Tensor:
        """Take one frame's magnitudes `[513]`; returns the next 200 samples (zeros while the first frames
        wait).
        """
        self.known.append(magnitude)
        target = torch.stack(self.known)  # [k, 513]
        self.guess = F.pad(self.guess, (0, 0, 0, 1))  # the newest frame begins as silence: [k, 800]
        for _ in range(self.iterations):
            views = self._lay(self.guess).unfold(0, OUT_WINDOW, OUT_HOP)  # [k, 800]
            spectrum = torch.fft.rfft(views * self.window, n=OUT_N_FFT)  # [k, 513]
            spectrum = torch.polar(target, spectrum.angle())
            self.guess = torch.fft.irfft(spectrum, n=OUT_N_FFT)[:, :OUT_WINDOW] * self.synthesis  # [k, 800]
        if len(self.known) <= self.look_ahead:
            return torch.zeros(OUT_HOP)
        fixed = F.pad(self.past, (0, OUT_HOP)) + self.guess[0]  # [800]
        self.past, self.guess, self.known = fixed[OUT_HOP:], self.guess[1:], self.known[1:]
        return fixed[:OUT_HOP]


def rtisi(mel: Tensor, iterations: int = 8) -> Tensor:
    """Normalised output mel `[F, 80]` -> sound f32 `[F * 200]`, moved back by the method's delay to the
    mel's time.
    """
    maker = Rtisi(iterations)
    extra = maker.delay // OUT_HOP
    spectra = F.pad(magnitudes(mel), (0, 0, 0, extra))  # [F + extra, 513]
    sound = torch.cat([maker.push(magnitude) for magnitude in spectra])  # [(F + extra) * 200]
    return sound[maker.delay :]  # [F * 200]
