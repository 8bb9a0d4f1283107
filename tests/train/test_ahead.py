"""The word after the one that is said: which it is, and that a run may ask for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from tml_lab.config import TRAIN_PRESETS, TrainConfig
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import AUDIO, SILENT, SPEAK, TextTokenizer
from tml_lab.train.ahead import AheadHead, ahead_loss, next_words
from tml_lab.train.feed import collate
from tml_lab.train.heads import heads_for
from tml_lab.train.losses import losses
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())
SILENCE = TOKENIZER.id(SILENT)


def ids(*names: str) -> torch.Tensor:
    return torch.tensor([TOKENIZER.id(name) for name in names])


def test_a_word_is_followed_by_the_next_one_of_its_reply_alone() -> None:
    reply = [SPEAK, "red", AUDIO, SPEAK, AUDIO, SPEAK, "ball", AUDIO]
    target = ids(SILENT, *reply, SILENT, SPEAK, "five", AUDIO, SILENT, *reply, SPEAK, "two", AUDIO)
    row = torch.zeros(len(target), dtype=torch.long)
    here, then = next_words(target, row)
    assert [TOKENIZER.names[i] for i in target[here].tolist()] == ["red", "red", "ball"]
    assert [TOKENIZER.names[i] for i in then.tolist()] == ["ball", "ball", "two"]
    row[int(here[-1]) + 1 :] = 1  # the last word stands in another row
    assert next_words(target, row)[1].tolist() == ids("ball", "ball").tolist()
    assert len(next_words(target[:0], row[:0])[0]) == len(next_words(ids("two"), row[:1])[0]) == 0


def test_a_reply_that_is_overdue_is_another_one() -> None:
    target = ids(SPEAK, "red", AUDIO, SPEAK, SPEAK, "two", AUDIO, SPEAK, AUDIO, SPEAK, "five", AUDIO)
    here, then = next_words(target, torch.zeros(len(target), dtype=torch.long))
    assert [TOKENIZER.names[i] for i in target[here].tolist()] == ["two"]  # not "red": "two" was due, and began later
    assert [TOKENIZER.names[i] for i in then.tolist()] == ["five"]


def test_at_first_the_head_says_the_word_itself_and_it_learns_the_next() -> None:
    torch.manual_seed(0)
    head, unembed = AheadHead(16), torch.randn(5, 16)
    hidden = torch.randn(40, 16)
    assert torch.equal(head(hidden), hidden)
    words = (hidden @ unembed.T).argmax(-1)
    following = (words + 1) % 5
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    first = float(ahead_loss(head(hidden) @ unembed.T, following).detach())
    for _ in range(150):
        optimizer.zero_grad()
        loss = ahead_loss(head(hidden) @ unembed.T, following)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3 * first
    assert float(ahead_loss(torch.randn(0, 5), words[:0])) == 0.0


def test_a_run_asks_for_it_where_it_weighs_something(scenes) -> None:
    assert heads_for(TrainConfig()) == () and heads_for(TrainConfig(ahead_weight=0.5)) == ("ahead",)
    assert heads_for(TRAIN_PRESETS["pico_eyes"])[0] == "sight"
    model = new_model("pico", TOKENIZER, seed=0)
    heads = nn.ModuleDict({"ahead": AheadHead(model.cfg.d_model)})
    episode = scenes(1)[0]
    last = episode.speaking[-1][0]
    episode.speaking.append((last + 1, "no", 0))
    for n_words, scene in ((2, episode), (1, replace(episode, speaking=episode.speaking[:-1]))):
        batch = collate([scene], TOKENIZER, np.random.default_rng(0))
        loss = losses(model, batch, SILENCE, TrainConfig(), torch.Generator().manual_seed(0), heads)["ahead"]
        assert (float(loss) > 0.0) == (n_words == 2) and torch.isfinite(loss)
