"""A checkpoint, loaded and warmed up: a model's first turn is slow, and nobody shall wait for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.session import Session


def load_warm(checkpoint: str | Path) -> tuple[InteractionModel, TextTokenizer]:
    """Model and tokenizer, after one silent turn. Raises CheckpointError."""
    model, tokenizer = load_checkpoint(checkpoint)
    Session(model, tokenizer).step(np.zeros(TURN_SAMPLES, np.float32))
    return model, tokenizer
