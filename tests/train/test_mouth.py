"""Another mouth for a trained model: it learns alone, and all else stays as it was."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import torch

from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.model.vocoder import Vocoder
from tml_lab.train.feed import collate
from tml_lab.train.mouth import spoken_states, train_mouth, with_mouth
from tml_lab.worlds.vocabulary import heard_world

TOKENIZER = TextTokenizer.build(heard_world())


def test_a_new_mouth_learns_and_nothing_else_does(scenes) -> None:
    torch.manual_seed(0)
    model = new_model("pico", TOKENIZER, seed=0).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    speaks = with_mouth(model, 64, 2, Vocoder(32, 3))
    assert (speaks.cfg.flow_width, speaks.cfg.flow_depth) == (64, 2)
    assert (speaks.cfg.vocoder_width, speaks.cfg.vocoder_depth) == (32, 3)
    rng = np.random.default_rng(0)
    batches = cycle([collate(scenes(4), TOKENIZER, rng), collate(scenes(4, seed=1), TOKENIZER, rng)])
    hidden, voice = spoken_states(model.requires_grad_(True), batches, 100)
    assert len(hidden) == len(voice) >= 100 and hidden.shape[1] == model.cfg.d_model and voice.shape[1] == 320
    untrained = train_mouth(with_mouth(model, 64, 2, Vocoder(32, 3)), hidden, voice, 1)
    error = train_mouth(speaks, hidden, voice, 60)
    assert error < 0.7 * untrained
    after = speaks.state_dict()
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor), name
        if not name.startswith(("flow.", "vocoder.")):
            assert torch.equal(after[name], tensor), name
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_same_seed_gives_the_same_mouth(scenes) -> None:
    model = new_model("pico", TOKENIZER, seed=0).eval()
    batch = collate(scenes(4), TOKENIZER, np.random.default_rng(0))
    hidden, voice = spoken_states(model, cycle([batch]), 20)
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        speaks = with_mouth(model, 64, 2, Vocoder(32, 3))
        train_mouth(speaks, hidden, voice, 4, seed=5)
        made.append(speaks.flow.state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
