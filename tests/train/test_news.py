"""What training asks at the end of every turn: what is new stands in its turn, and lost pictures are not asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tml_lab.config import PRESETS, TrainConfig
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import SILENT, TextTokenizer
from tml_lab.stream.layout import NO_TARGET
from tml_lab.train.feed import collate
from tml_lab.train.losses import losses
from tml_lab.train.news import N_NEWS, NewsHead, news, news_loss
from tml_lab.train.shards import Rendered
from tml_lab.worlds.episode import closed_world
from tml_lab.worlds.lexicon import COLOURS
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.cast import HAPPENINGS, KINDS
from tml_lab.worlds.seen.scene import Scene

TOKENIZER = TextTokenizer.build(closed_world())
NAMES = (
    *(f"came {name}" for name in (*COLOURS, *KINDS)), *(f"now {colour}" for colour in COLOURS), *HAPPENINGS,
)  # fmt: skip


def scene() -> Scene:
    """A red ball from 0.4 s on, blue at 0.8 s, to the right at 1.0 s; a green star all along; somebody waves."""
    made = Scene(np.random.default_rng(0))
    ball = made.thing("ball", "red", Span(0.4, 1.6), 60, 60, size=9)
    made.recolour(ball, "blue", 0.8)
    made.move(ball, 1.0, 0.2, 40, 0)
    made.thing("star", "green", Span(-1.0, 9.0), 100, 30)
    made.person("wave", x=130).do("wave", [Span(0.2, 1.0)])
    return made


def told(script) -> list[set[str]]:
    """What is new in each turn, in words."""
    return [{NAMES[i] for i in np.flatnonzero(row == 1)} for row in news(script)]


def test_what_is_new_is_told_in_its_turn_and_not_before_nor_after() -> None:
    assert len(NAMES) == N_NEWS
    seen = told(scene().script(20))
    assert seen[0] == seen[1] == seen[3] == seen[9] == set()  # the star was there from the first
    assert seen[2] == {"came red", "came ball", "comes"}
    assert seen[4] == {"now blue", "takes another colour"}
    assert {"has done one"} <= seen[5] <= {"has done one", "right"}
    assert "right" in seen[5] | seen[6] and "goes" in seen[7] | seen[8]
    assert (news(replace(scene().script(20), cast=None)) == -1).all()


def test_it_is_asked_where_the_decision_falls_and_not_where_pictures_are_lost() -> None:
    quiet = Rendered("toy_seen", torch.full((40, 80), -5.0).half(), [], [], scene=scene().script(20))
    batch = collate([quiet, replace(quiet, unseen=[3])], TOKENIZER, np.random.default_rng(0), (160, 120))
    assert batch.news is not None and batch.turn_ends is not None
    assert batch.news.shape == (20, N_NEWS) and batch.turn_ends.shape == (20,)
    asked = batch.target[batch.turn_ends]
    assert asked.ne(NO_TARGET).all() and asked.eq(TOKENIZER.id(SILENT)).all()
    assert batch.news[:10].ge(0).all() and batch.news[10:].lt(0).all(1).nonzero().flatten().tolist() == [3, 4]
    heard = collate([replace(quiet, scene=None)], TOKENIZER, np.random.default_rng(0))
    assert heard.news is None and heard.turn_ends is None
    beside = collate([quiet, replace(quiet, scene=None)], TOKENIZER, np.random.default_rng(0), (160, 120))
    assert beside.news is None  # pictures of no concern are among them


def test_the_loss_is_least_where_all_is_told_and_nothing_where_nobody_knows() -> None:
    target = torch.from_numpy(news(scene().script(20)))
    right = 24 * target - 12  # logits
    assert float(news_loss(right, target)) < 1e-2 < float(news_loss(-right, target))
    assert float(news_loss(right.flip(0), target)) > 1.0
    target[:] = -1.0
    assert float(news_loss(right, target)) == 0.0


@pytest.mark.parametrize("seen", [True, False])
def test_it_is_learned_and_asked_of_scenes_only(seen: bool) -> None:
    torch.manual_seed(0)
    cfg, model = TrainConfig(), new_model("pico", TOKENIZER, seed=0)
    heads = nn.ModuleDict({"news": NewsHead(PRESETS["pico"].d_model)})
    quiet = Rendered("toy_seen", torch.full((40, 80), -5.0).half(), [], [], scene=scene().script(20) if seen else None)
    batch = collate([quiet] * 2, TOKENIZER, np.random.default_rng(0), (160, 120) if seen else None)
    batch = batch.to(torch.device("cpu"))
    optimizer = torch.optim.AdamW([*model.parameters(), *heads.parameters()], 3e-3)
    found = []
    for _ in range(15):
        parts = losses(model, batch, TOKENIZER.id(SILENT), cfg, torch.Generator(), heads)
        parts["news"].backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(parts["news"].item())
    assert found[-1] < 0.6 * found[0] if seen else found == [0.0] * 15
