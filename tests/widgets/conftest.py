"""A model of preset pico with random weights, and what the widget sends to the browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from tml_lab.model.checkpoint import new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.worlds.lexicon import REPLY_WORDS
from tml_widgets import Clip, LiveSession


@pytest.fixture(scope="session")
def pico(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint folder with random weights: its decisions mean nothing, but differ from turn to turn."""
    folder = tmp_path_factory.mktemp("pico")
    tokenizer = TextTokenizer.build(REPLY_WORDS)
    save_checkpoint(folder, new_model("pico", tokenizer, seed=3), tokenizer, {})
    return str(folder)


@pytest.fixture
def clip(tmp_path: Any) -> Clip:
    """1.1 s of noise with words typed at 0.5 s."""
    sound = np.random.default_rng(0).standard_normal(17_600).astype(np.float32) / 8
    soundfile.write(tmp_path / "noise.wav", sound, 16_000, subtype="FLOAT")
    segments = [{"start": 0.1, "end": 0.6, "text": "hiss"}]
    about = {"title": "noise", "typed": [[0.5, "stop now"]], "segments": segments}
    (tmp_path / "noise.json").write_text(json.dumps(about))
    return Clip.load(tmp_path / "noise.wav")


@pytest.fixture
def open_live() -> Iterator[Callable[..., tuple[LiveSession, list[dict]]]]:
    """Make a `LiveSession` that also lists what it sends; closed after the test."""
    opened: list[LiveSession] = []

    def make(*args: Any, **kwargs: Any) -> tuple[LiveSession, list[dict]]:
        live = LiveSession(*args, **kwargs)
        sent: list[dict] = []
        live.send = lambda content, buffers=None: sent.append({**content, "buffers": buffers or []})  # type: ignore[method-assign]
        opened.append(live)
        return live, sent

    yield make
    for live in opened:
        live.close()
