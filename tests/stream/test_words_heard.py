"""Words read off the listening head turn by turn are those of one offline pass."""

from __future__ import annotations

import numpy as np
import torch

from tml_lab.model.checkpoint import new_model
from tml_lab.model.listen import read_words
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.layout import Stream
from tml_lab.stream.replay import offline_tokens
from tml_lab.stream.session import Session
from tml_lab.stream.words_heard import WordsHeard, ear_of
from tml_lab.train.losses import residuals_after
from tml_lab.worlds.lexicon import REPLY_WORDS


def random_session() -> Session:
    tokenizer = TextTokenizer.build(REPLY_WORDS)
    return Session(new_model("pico", tokenizer, seed=3).requires_grad_(False), tokenizer)


def test_streaming_words_are_the_offline_ones() -> None:
    session = random_session()
    model, tokenizer = session.model, session.tokenizer
    ear, rng, words = WordsHeard(session), np.random.default_rng(5), []
    for turn in range(12):
        text = "repeat every number you hear" if turn == 3 else None
        frames = rng.integers(0, 256, (2, 120, 160, 3), dtype=np.uint8) if turn > 6 else None
        with ear.turn():
            session.step(rng.standard_normal(3200).astype(np.float32) / 8, frames, text)
        words += ear.words

    tokens = offline_tokens(session.recording())
    with residuals_after(model, [model.cfg.listen_layer]) as middle, torch.no_grad():
        model(model.embed(tokens)[None])
    heard = middle[model.cfg.listen_layer][0][tokens.stream == Stream.AUDIO_IN]
    assert len(heard) == 12 * 4
    ids, _ = read_words(model.listen(heard).argmax(-1).tolist())
    # Random weights also name parts of words (##n), which `decode` joins with their neighbours.
    assert "".join(words).replace("##", "") == "".join(tokenizer.decode(ids).split())
    assert words, "random weights should read something into noise"


def test_nothing_is_left_behind_on_the_model() -> None:
    session = random_session()
    ear = WordsHeard(session)
    with ear.turn():
        pass
    assert ear.words == ()
    assert not session.model.backbone.blocks[session.model.cfg.listen_layer]._forward_hooks


def test_only_a_session_with_its_model_here_has_an_ear() -> None:
    session = random_session()
    ear = ear_of(session)
    assert isinstance(ear, WordsHeard) and ear.model is session.model
    assert ear_of(object()) is None  # a session on a server: its model is there
