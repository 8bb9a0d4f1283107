"""A recording in which the model only listens, and when it would have spoken.

What the model said is part of what it hears next, so after its first word two runs differ in more than what was
changed. Kept silent, every run has the same positions: one offline pass gives its wish to speak at every turn, and a
change inside moves the turn in which that wish first wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.text import AUDIO, SILENT, TextTokenizer
from tml_lab.signal.patches import n_patches
from tml_lab.stream.layout import STREAM_NAMES, TurnTokens, lay_out
from tml_lab.stream.recording import Recording
from tml_lab.stream.tokens import TokenTable

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode

TEXT = [STREAM_NAMES.index("text_in"), STREAM_NAMES.index("text_out")]


def kept_silent(tokenizer: TextTokenizer, episode: Episode) -> Recording:
    """A recording of the episode in which every decision is `<silent>`; no model runs, so `p_speak` is 0 throughout."""
    inputs, silent, turns = episode.inputs(), tokenizer.id(SILENT), []
    for n in range(inputs.turns):
        _, frames, text = inputs.turn(n)
        seen = 0 if frames is None else n_patches(*frames.shape[1:3])
        turns.append(TurnTokens([] if text is None else tokenizer.encode(text), seen, silent))
    laid = lay_out(turns, tokenizer.id(AUDIO))
    token = np.where(np.isin(laid.stream, TEXT), laid.token, -1)
    table = TokenTable(
        laid.stream.astype(np.uint8),
        laid.turn.astype(np.int32),
        laid.slot.astype(np.int32),
        token.astype(np.int32),
        {int(i): tokenizer.names[i] for i in np.unique(token) if i >= 0},
    )
    return Recording(
        inputs=inputs,
        decisions=(SILENT,) * inputs.turns,
        p_speak=np.zeros(inputs.turns, np.float32),
        words=((),) * inputs.turns,
        audio_out=np.zeros(inputs.turns * TURN_SAMPLES, np.float32),
        tokens=table,
    )


def first_wish(logit_difference: np.ndarray, after: int = 0) -> int | None:
    """The first turn from `after` on in which `<speak>` beats `<silent>`; None when it never does.

    Args:
        logit_difference: [turns], `<speak>` less `<silent>`.
    """
    wishes = np.flatnonzero(logit_difference[after:] > 0)
    return int(wishes[0]) + after if len(wishes) else None
