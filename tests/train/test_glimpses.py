"""Glimpses: pieces of scenes from which the eyes alone learn, many of them in one batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tml_lab.config import TRAIN_PRESETS
from tml_lab.model.checkpoint import load_checkpoint, new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.layout import NO_TARGET
from tml_lab.train.feed import Feed
from tml_lab.train.loop import open_trainer, train
from tml_lab.train.shards import OF_EACH, TURNS, glimpses, make_shard, read_shard, render
from tml_lab.train.sight import scene_targets
from tml_lab.worlds.curriculum import GLIMPSES, training_episode
from tml_lab.worlds.families.hearing import DICTATION
from tml_lab.worlds.seen.film import SceneFilm
from tml_lab.worlds.vocabulary import seen_world
from tml_lab.worlds.voices import VoiceBank

TOKENIZER = TextTokenizer.build(seen_world(further=True))


@pytest.fixture(scope="module")
def bank() -> VoiceBank:
    return VoiceBank.open("train", quiet=True)


def test_a_glimpse_is_a_piece_of_its_scene(bank: VoiceBank) -> None:
    scene = render(training_episode(3, bank, "first_sight"))
    found = list(glimpses(scene, np.random.default_rng(0)))
    assert len(found) == OF_EACH and scene.scene is not None
    whole = scene_targets([SceneFilm((160, 120), scene.scene)]).view(scene.n_turns, 12, -1)
    for glimpse in found:
        assert glimpse.n_turns == TURNS and glimpse.scene is not None and not glimpse.typed and not glimpse.speaking
        (start,) = [
            t for t in range(scene.n_turns - TURNS + 1)
            if torch.equal(scene.mel[4 * t : 4 * (t + TURNS)], glimpse.mel)
            and np.array_equal(scene.scene.only(slice(2 * t, 2 * (t + TURNS))).shapes, glimpse.scene.shapes)
        ][:1]  # fmt: skip
        asked = scene_targets([SceneFilm((160, 120), glimpse.scene)]).view(TURNS, 12, -1)
        assert torch.equal(asked[1:], whole[start + 1 : start + TURNS])  # at first nothing was there before


def test_nothing_is_glimpsed_where_there_is_too_little(bank: VoiceBank) -> None:
    scene = render(training_episode(3, bank, "first_sight"))
    rng = np.random.default_rng(0)
    assert list(glimpses(replace(scene, scene=None), rng)) == []
    assert list(glimpses(replace(scene, mel=scene.mel[: 4 * (TURNS - 1)]), rng)) == []


def test_a_batch_of_glimpses_asks_the_eyes_and_nothing_else(bank: VoiceBank, tmp_path: Path) -> None:
    path = make_shard(tmp_path, 0, 12, bank, GLIMPSES)
    again = make_shard(tmp_path / "again", 0, 12, bank, GLIMPSES)
    assert path.read_bytes() == again.read_bytes()
    found = list(read_shard(path))
    assert len(found) % OF_EACH == 0 and {glimpse.family for glimpse in found} == {DICTATION}
    batch = next(iter(Feed(tmp_path, TOKENIZER, seed=1, budget=1024)))
    rows, length = batch.shape
    assert length == 64 and rows > 8 and len(batch.films) == rows
    assert batch.target.eq(NO_TARGET).all() and batch.n_frames.eq(0).all() and not len(batch.words)
    drawn = batch.to(torch.device("cpu"))
    assert drawn.sight is not None and drawn.tokens.patches is not None
    patches = len(drawn.tokens.patches)
    assert len(drawn.sight) == patches and patches in (rows * TURNS * 12, rows * TURNS * 6)


def test_the_eyes_learn_from_them(bank: VoiceBank, tmp_path: Path) -> None:
    make_shard(tmp_path / "shards", 0, 12, bank, GLIMPSES)
    cfg = replace(TRAIN_PRESETS["pico"], curriculum=((GLIMPSES, 1.0),), steps=40, budget=1024, warmup=1)
    trainer = open_trainer("pico", tmp_path / "run", ((tmp_path / "shards", 1.0),), cfg, False, "cpu")
    batch = next(trainer.batches())
    rows = [trainer.one_step(batch) for _ in range(12)]
    assert rows[-1]["sight"] < 0.8 * rows[0]["sight"] and all(row["text"] == row["flow"] == 0.0 for row in rows)


def test_of_a_trained_model_nothing_but_the_eyes_learns_from_them(bank: VoiceBank, tmp_path: Path) -> None:
    make_shard(tmp_path / "shards", 0, 12, bank, GLIMPSES)
    begins = new_model("pico", TOKENIZER, seed=5)
    save_checkpoint(tmp_path / "before", begins, TOKENIZER, {})
    train(
        "pico", tmp_path / "after", episodes=tmp_path / "shards", lesson=GLIMPSES, steps=4,
        init=str(tmp_path / "before"), words=seen_world(further=True),
    )  # fmt: skip
    (before, _), (after, _) = (load_checkpoint(tmp_path / name) for name in ("before", "after"))
    changed = {
        name for (name, old), new in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(old, new)
    }  # fmt: skip
    eyes = {name for name, _ in before.named_parameters() if name.startswith("embed_video.")}
    assert changed and changed <= eyes and len(changed) > len(eyes) / 2
