"""The own voice of a played episode as sound, from the mel that its log kept."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tml_lab.bench.emissions import Emissions
from tml_lab.config import OUT_HOP, TURN_SAMPLES
from tml_lab.model.vocoder import VOCODER_DELAY, Vocoder


def vocode(vocoder: Vocoder, mel: Tensor) -> Tensor:
    """Normalised mel `[F, 80]` -> sound `[F * 200]`, turn by turn as at work, moved back by the delay."""
    tail = vocoder.silence.expand(VOCODER_DELAY // OUT_HOP, -1)  # [2, 80]
    state = vocoder.new_state()
    turns = torch.cat([mel, tail])[None].split(TURN_SAMPLES // OUT_HOP, dim=1)  # each [1, 16, 80]
    return torch.cat([vocoder.step(turn, state)[0] for turn in turns])[VOCODER_DELAY:]


@torch.no_grad()
def voice_of(log: Emissions, vocoder: Vocoder | None) -> np.ndarray:
    """The model's own voice, f32 `[turns * 3200]`: each run of speaking turns from its mel, a turn later."""
    sound = np.zeros((log.turns + 4) * TURN_SAMPLES, np.float32)
    turns = sorted(log.voice)
    while turns and vocoder is not None:
        n = next((i for i in range(1, len(turns)) if turns[i] != turns[i - 1] + 1), len(turns))
        run, turns = turns[:n], turns[n:]
        piece = vocode(vocoder, torch.cat([log.voice[t] for t in run])).numpy()
        start = (run[0] + 1) * TURN_SAMPLES
        room = sound[start : start + len(piece)]
        room += piece[: len(room)]
    return sound[: log.turns * TURN_SAMPLES]
