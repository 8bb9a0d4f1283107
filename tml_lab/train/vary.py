"""Few voices stand for many: in training the same talk is heard from other speakers through other microphones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, N_MELS, SAMPLE_RATE
from tml_lab.signal.dmel import HOP, log_mel, quantize
from tml_lab.signal.mel import hz_to_mel, mel_to_hz
from tml_lab.train.shards import Rendered

SILENCE = log_mel(torch.zeros(HOP))[0]  # f32 [80]: what no sound at all is heard as
BENDS = 5  # places at which another speaker's formants lie apart from the first one's, each in its own way


def throat(mel: Tensor, *factors: float) -> Tensor:
    """The same talk from a shorter (factors above 1) or longer vocal tract: the frequency axis stretched.

    The factors stand at equal distances from its bottom to its top, since people differ in the throat and in the mouth
    each for itself. `mel [frames, 80]`. Source: VTLP (Jaitly & Hinton 2013), here on the channels instead of the
    spectrum, and bent.
    """
    step = hz_to_mel(np.array(SAMPLE_RATE / 2)) / (N_MELS + 1)  # mels from one channel's centre to the next
    stretch = np.interp(np.linspace(0.0, 1.0, N_MELS), np.linspace(0.0, 1.0, len(factors)), factors)  # [80]
    heard_at = mel_to_hz(step * np.arange(1, N_MELS + 1)) / stretch  # hertz
    place = torch.from_numpy(hz_to_mel(heard_at) / step - 1).clamp(0, N_MELS - 1).float()  # [80]
    below = place.long().clamp(max=N_MELS - 2)
    return torch.lerp(mel[:, below], mel[:, below + 1], place - below)  # [frames, 80]


def clarity(mel: Tensor, factor: float) -> Tensor:
    """Formants further out of the spectrum's rough shape (`factor` above 1), or blurred into it, as engines and people
    differ in the width of their resonances. `mel [frames, 80]`.
    """
    rough = torch.nn.functional.avg_pool1d(mel[:, None], 15, 1, 7, count_include_pad=False)[:, 0]  # [frames, 80]
    return rough + factor * (mel - rough)


def vary(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Another speaker and another microphone for the same talk: vocal tract, resonances, level, tilt, two dips, a
    noise floor, a band that is missing. `[frames, 80]` log10.
    """
    mel = mel.float() + float(rng.normal(0.0, 0.25))
    if rng.uniform() < 0.7:
        both, apart = rng.uniform(-0.16, 0.16), rng.uniform(-0.07, 0.07)
        bent = both + apart * np.linspace(1.0, -1.0, BENDS) + rng.normal(0.0, 0.025, BENDS)
        mel = throat(mel, *np.exp(bent).tolist())
    if rng.uniform() < 0.5:
        mel = clarity(mel, float(rng.uniform(0.6, 1.3)))
    channel = torch.linspace(-1.0, 1.0, N_MELS)
    mel = mel + float(rng.normal(0.0, 0.25)) * channel
    for _ in range(2):
        centre, width = rng.uniform(-1, 1), rng.uniform(0.1, 0.5)
        mel = mel + float(rng.normal(0.0, 0.25)) * torch.exp(-(((channel - centre) / width) ** 2))
    if rng.uniform() < 0.3:
        mel = torch.maximum(mel, torch.tensor(float(rng.uniform(-4.5, -1.5))))
    if rng.uniform() < 0.15:  # a telephone: nothing above 3.4 kHz
        mel[:, int(rng.integers(54, 60)) :] -= float(rng.uniform(1.0, 4.0))
    for _ in range(2):  # SpecAugment's frequency masks (Park et al. 2019)
        start, width = int(rng.integers(0, N_MELS - 12)), int(rng.integers(2, 12))
        if rng.uniform() < 0.2:
            mel[:, start : start + width] = mel[:, start : start + width].mean()
    return mel + torch.from_numpy(rng.normal(0.0, 0.04, mel.shape).astype(np.float32))


def as_heard(episode: Rendered, rng: np.random.Generator) -> Tensor:
    """The frames of an episode from another speaker and microphone, uint8 `[frames, 80]`; a gap stays pure silence."""
    mel = vary(episode.mel, rng)
    for turn in episode.gaps:
        frames = slice(turn * FRAMES_PER_TURN, (turn + 1) * FRAMES_PER_TURN)
        silent = (episode.mel[frames].float() <= SILENCE + 0.01).all(1)  # the first one holds a hop of sound before it
        mel[frames][silent] = SILENCE
    return quantize(mel)
