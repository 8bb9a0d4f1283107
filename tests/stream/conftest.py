"""A tiny model with random weights that speaks often, and inputs for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.stream.session import Session

WORDS = ("one", "two", "three", "remind", "me", "in", "seconds", "stop")


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.build(WORDS)


@pytest.fixture(scope="session")
def model(tokenizer: TextTokenizer) -> InteractionModel:
    """Random pico weights with a window of 24 tokens and a global budget of 96, so that short tests wrap."""
    model = new_model("pico", tokenizer, seed=5)
    cfg = model.cfg.with_(window=24, rel_extent=40, global_budget=96, n_sinks=4)
    torch.manual_seed(5)
    model = InteractionModel(cfg).eval().requires_grad_(False)
    with torch.no_grad():
        # At initialisation many parts are zero (convolutions, biases, flow gates); wake them all up.
        for name, weight in model.named_parameters():
            if not name.startswith("vocoder") and weight.abs().max() == 0:
                weight.normal_(std=0.3)
            elif not name.startswith(("vocoder", "flow", "embed")) and weight.ndim >= 2:
                weight.normal_(std=weight.shape[-1] ** -0.5)
        # Two decisions compete on equal terms, so that both occur.
        others = [tokenizer.id(name) for name in ("<delegate>", "<tool>")]
        model.unembed.weight[others] = 0.0
        mean = model.unembed.weight[[tokenizer.id(SILENT), tokenizer.id(SPEAK)]].mean(0)
        model.unembed.weight[[tokenizer.id(SILENT), tokenizer.id(SPEAK)]] -= mean
        model.unembed.weight[[tokenizer.id(SILENT), tokenizer.id(SPEAK)]] *= 20.0
    return model


def _sound(turns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = (
        100 * TURN_SAMPLES
    )  # always drawn as a whole, so that a shorter sound is the beginning of a longer one
    level = np.repeat(10.0 ** rng.uniform(-4, -0.5, 400), TURN_SAMPLES // 4)
    tone = np.sin(np.arange(n) * (2200 / 16_000))
    return (level * (rng.standard_normal(n) * 0.3 + tone)).astype(np.float32)[: turns * TURN_SAMPLES]


def _run(session: Session, turns: int, seed: int = 0, camera: bool = True, typing: bool = True) -> Session:
    audio = _sound(turns, seed).reshape(turns, TURN_SAMPLES)
    for n in range(turns):
        pixels = np.random.default_rng(n).integers(0, 256, (2, 60, 80, 3), np.uint8)
        text = "remind me in two seconds please" if typing and n % 9 == 2 else None
        session.step(audio[n], pixels if camera and n % 4 == 1 else None, text)
    return session


@pytest.fixture(scope="session")
def sound() -> Callable[..., np.ndarray]:
    """`sound(turns, seed)`: float32 [turns * 3200], bursts of noise and tones."""
    return _sound


@pytest.fixture(scope="session")
def run() -> Callable[..., Session]:
    """`run(session, turns, seed, camera, typing)`: advance a session; pictures and words in some turns."""
    return _run
