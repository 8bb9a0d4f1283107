"""The way out: mel through the vocoder, and silence that lets the last sound ring out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tml_lab.config import (
    N_MELS,
    OUT_DIM,
    OUT_FRAMES_PER_TURN,
    OUT_HOP,
    OUT_TOKENS_PER_TURN,
    TURN_SAMPLES,
)  # fmt: skip
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import State
from tml_lab.model.vocoder import WINDOW
from tml_lab.stream.graphed import Graphed

PREFIX = "vocoder."


def turn_noise(seed: int, turn: int) -> Tensor:
    """The flow head's noise in one turn: float32 [4, 320], from `(seed, turn)` alone.

    Not from a running generator: in a counterfactual that speaks one turn more, all later turns still get the
    noise they had, so that a difference heard there has another cause.
    """
    mixed = np.random.SeedSequence([seed, turn]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
    return torch.randn(OUT_TOKENS_PER_TURN, OUT_DIM, generator=generator)


class VoiceOut:
    """Runs the vocoder turn by turn.

    After the last speaking turn the vocoder is given silent mel for as long as it can remember the word, so
    that nothing is cut; then it rests and gives exact zeros at no cost. Its state is by then what long
    silence gives, so that all utterances together equal one offline pass over the whole mel.
    """

    def __init__(self, model: InteractionModel) -> None:
        self.vocoder = model.vocoder
        self.silence = model.vocoder.get_buffer("silence")  # [1, 80], normalised mel
        self.ring_turns = -(-(self.vocoder.receptive_frames + WINDOW // OUT_HOP + 1) // OUT_FRAMES_PER_TURN)
        with torch.no_grad():
            # `Vocoder.step` replaces its state's entries and never writes into them: one copy serves all.
            self.rested = {PREFIX + name: tensor for name, tensor in self.vocoder.new_state(1).items()}

    def new_state(self) -> State:
        """At rest. `vocoder.ringing` counts the silent turns that the vocoder must still be given."""
        return {PREFIX + "ringing": torch.zeros((), dtype=torch.long), **self.rested}

    def step(self, mel: Tensor | None, state: State, graphs: Graphed | None = None) -> np.ndarray:
        """One turn of sound: float32 [3200]; moves `state` on.

        Args: mel normalised float32 [4, 320] of a speaking turn, or None in a silent one; graphs: the session's, when
        this turn runs by them.
        """
        ringing = self.ring_turns + 1 if mel is not None else int(state[PREFIX + "ringing"])
        if not ringing:
            return np.zeros(TURN_SAMPLES, np.float32)
        if mel is None:
            frames = self.silence.expand(OUT_FRAMES_PER_TURN, N_MELS)  # [16, 80]
        else:
            frames = mel.reshape(OUT_FRAMES_PER_TURN, N_MELS)  # [4, 320] -> [16, 80]
        sound = graphs.vocoder(frames, state) if graphs else None
        if sound is None:
            inner = {name: state[PREFIX + name] for name in (key.removeprefix(PREFIX) for key in self.rested)}
            sound = self.vocoder.step(frames[None], inner)[0]  # [3200]
            state.update({PREFIX + name: tensor for name, tensor in inner.items()})
        if ringing == 1:
            state.update(self.rested)
        state[PREFIX + "ringing"] = torch.tensor(ringing - 1)
        return sound.float().cpu().numpy()
