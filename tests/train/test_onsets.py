"""The decision to begin is told from the one to go on, and weighs what the run says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tml_lab.config import TrainConfig
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import DELEGATE, SILENT, SPEAK, TextTokenizer
from tml_lab.stream.layout import NO_TARGET
from tml_lab.train.feed import collate
from tml_lab.train.losses import losses, onsets
from tml_lab.train.trainer import Trainer
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())


def ids(*names: str) -> torch.Tensor:
    return torch.tensor([TOKENIZER.id(name) for name in names])


def test_a_decision_begins_something_where_a_word_stands_behind_it() -> None:
    target = ids(SILENT, SPEAK, "five", SPEAK, SPEAK, SILENT, DELEGATE, "timer", "ten", SPEAK)
    found = onsets(target, TOKENIZER.id(SILENT)).nonzero().flatten().tolist()
    assert found == [1, 6]
    assert not onsets(ids(SILENT)[:0], TOKENIZER.id(SILENT)).any()


def test_each_word_of_an_episode_has_one(scenes) -> None:
    batch = collate(scenes(3), TOKENIZER, np.random.default_rng(0))
    asked = batch.target[batch.target != NO_TARGET]
    begun = sum(k == 0 for scene in scenes(3) for _, _, k in scene.speaking)
    assert int(onsets(asked, TOKENIZER.id(SILENT)).sum()) == begun > 0


def test_it_weighs_more_at_first_and_as_much_as_any_in_the_end(scenes, tmp_path) -> None:
    cfg = TrainConfig(steps=100, cooldown=0.5, onset_weight=3.0)
    model = new_model("pico", TOKENIZER, seed=0)
    trainer = Trainer(model, TOKENIZER, cfg, tmp_path, feed=None, lessons=())  # type: ignore[arg-type]
    weights = []
    for trainer.step in (0, 50, 75, 100):
        weights.append(trainer.onset_weight())
    assert weights == [3.0, 3.0, 2.0, 1.0]
    batch = collate(scenes(3), TOKENIZER, np.random.default_rng(0))
    silent = TOKENIZER.id(SILENT)
    found = [
        losses(model, batch, silent, replace(cfg, onset_weight=w), torch.Generator().manual_seed(0)) for w in (1.0, 9.0)
    ]
    assert found[0]["text"] != found[1]["text"] and found[0]["flow"].item() == pytest.approx(found[1]["flow"].item())
    assert 0.0 <= found[0]["right_onset"] <= 1.0
