"""A recording of a pico model with random weights that both speaks and keeps silent, and its cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.model.checkpoint import new_model
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.stream.session import Session

TURNS = 20


@pytest.fixture(scope="session")
def model() -> InteractionModel:
    """Preset pico; parts that start at zero are woken, and speech and silence compete on equal terms."""
    tokenizer = _tokenizer()
    model = new_model("pico", tokenizer, seed=5).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if not name.startswith("vocoder") and weight.abs().max() == 0:
            weight.normal_(std=0.1)
    rows = [tokenizer.id(name) for name in (SILENT, SPEAK)]
    model.unembed.weight[rows] -= model.unembed.weight[rows].mean(0)
    model.unembed.weight[rows] *= 20.0
    return model


def _tokenizer() -> TextTokenizer:
    return TextTokenizer.build(["one", "two", "three", "remind", "me"])


@pytest.fixture(scope="session")
def session(model: InteractionModel) -> Session:
    """20 turns of noise and tones, with pictures and typed words in some of them."""
    rng = np.random.default_rng(1)
    session = Session(model, _tokenizer(), seed=2)
    for turn in range(TURNS):
        audio = rng.standard_normal(TURN_SAMPLES) * 10.0 ** rng.uniform(-4, -0.5)
        frames = rng.integers(0, 256, (2, 80, 80, 3), np.uint8) if turn % 4 == 1 else None
        session.step(audio.astype(np.float32), frames, "remind me" if turn % 9 == 2 else None)
    return session


@pytest.fixture(scope="session")
def cache(session: Session, model: InteractionModel) -> Cache:
    """The offline pass over the session's recording."""
    torch.manual_seed(0)
    return run_with_cache(model, session.tokenizer, session.recording())
