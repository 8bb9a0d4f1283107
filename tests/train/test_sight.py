"""What training asks of the eyes: targets belong to their patches and turns, and the head is the trainer's alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tml_lab.config import TRAIN_PRESETS, TrainConfig
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.model.text import SILENT, TextTokenizer
from tml_lab.train.feed import collate
from tml_lab.train.loop import open_trainer
from tml_lab.train.losses import losses
from tml_lab.train.shards import Rendered, write_shard
from tml_lab.train.sight import (
    CELLS,
    N_CELLS,
    N_NAMES,
    WIDTHS,
    SightHead,
    named,
    phases,
    scene_targets,
    sight_loss,
)
from tml_lab.train.trainer import Trainer
from tml_lab.worlds.lexicon import COLOURS
from tml_lab.worlds.seen.actions import Span
from tml_lab.worlds.seen.cast import HAPPENINGS, KINDS
from tml_lab.worlds.seen.film import SceneFilm
from tml_lab.worlds.seen.scene import Scene, Script
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())
BOX = (2.0, 100.0, 60.0, 0.0, 0.0, 15.0, 15.0, 255.0, 0.0, 0.0, 1.0)  # red, about (100, 60), 30 pixels wide


def script(frames: int, since: int) -> Script:
    """A red box from frame `since` on."""
    shapes = np.zeros((frames, 1, 11), np.float16)
    shapes[since:, 0] = BOX
    return Script(shapes, seed=3)


def parts(target: torch.Tensor, turns: int) -> list[torch.Tensor]:
    """The targets' parts, `[turns, patches, width]` each."""
    return [part.view(turns, -1, part.shape[1]) for part in target.split(WIDTHS, 1)]


def test_a_shape_is_found_in_its_patches_and_a_turn_later_as_what_was_there() -> None:
    now, before, bright, hues, far, names = parts(scene_targets([SceneFilm((160, 120), script(8, since=4))]), 4)
    assert now.shape == (4, 12, N_CELLS)
    there = now.sum(-1)  # [turns, patches]: cells
    assert there[:2].eq(0).all() and there[2:, 6].eq(36).all()  # 6 x 6 cells of the middle row's third patch
    assert there[2:].sum(-1).eq(36).all()
    assert torch.equal(before[1:], now[:-1]) and before[0].eq(0).all()
    middle = (CELLS // 2) * CELLS + CELLS // 2
    assert names.eq(-1).all() and far.eq(-1).all()  # nobody said what this is
    assert bright[2, 6, middle] == pytest.approx(1 / 3) and hues[2, 6, :3].tolist() == pytest.approx([1.0, 0.0, 0.0])


def names_of(film: SceneFilm) -> list[set[tuple[int, str]]]:
    """Of each turn: (patch, name)."""
    words = (*COLOURS, *KINDS, *HAPPENINGS)
    turns = named(film).reshape(len(film.script.shapes) // 2, -1, N_NAMES)
    return [{(int(patch), words[int(name)]) for patch, name in np.argwhere(turn == 1)} for turn in turns]


def test_what_is_there_and_what_happened_has_its_names_in_its_patch() -> None:
    scene = Scene(np.random.default_rng(0))
    ball = scene.thing("ball", "red", Span(0.4, 1.6), 60, 60, size=9)
    scene.recolour(ball, "blue", 0.8)
    scene.move(ball, 1.0, 0.2, 40, 0)
    someone = scene.person("wave", x=130)
    someone.do("wave", [Span(0.2, 1.0)])
    seen = names_of(SceneFilm((160, 120), scene.script(20)))
    (waves,) = {patch for patch, name in seen[2] if name == "wave"}
    assert waves % 4 == 3  # x = 130
    things = [{(patch, name) for patch, name in turn if patch != waves} for turn in seen]
    assert things[1] == set() and things[3] == {(5, "red"), (5, "ball")}
    assert things[2] == things[3] | {(5, "comes")}  # it ends at 66, 66: the last patch in which some of it lies
    assert things[4] == {(5, "blue"), (5, "ball"), (5, "takes another colour")}
    assert things[6] == {(6, "blue"), (6, "ball"), (6, "right")} and things[9] == set()
    assert [(6, "goes") in turn for turn in things].count(True) == 1 and (6, "goes") in things[7] | things[8]
    assert (waves, "has done one") in seen[5] and (waves, "stands") in seen[5] and (waves, "stands") in seen[0]
    half = names_of(SceneFilm((120, 80), scene.script(20)))
    assert {(patch, name) for patch, name in half[2] if name == "red"} == {(4, "red")}  # 3 x 2 patches


def test_a_thing_on_a_seam_is_told_of_where_all_of_it_has_been_seen() -> None:
    scene = Scene(np.random.default_rng(0))
    scene.thing("star", "pink", Span(0.0, 9.0), 38, 79, size=15)  # over four patches, its middle in the first
    (seen,) = names_of(SceneFilm((160, 120), scene.script(2)))
    assert seen == {(9, "pink"), (9, "star")}


def test_what_is_written_is_told_of_where_it_ends_figures_in_words() -> None:
    scene = Scene(np.random.default_rng(0))
    scene.write("7", Span(0.4, 1.0), y=60)
    scene.write("seven", Span(1.2, 2.0), y=60)
    scene.write("zebra", Span(2.2, 3.0), y=60)  # no word that is read aloud
    seen = names_of(SceneFilm((160, 120), scene.script(32)))
    assert [{name for _, name in turn} for turn in seen[2:5]] == [{"seven", "comes"}, {"seven"}, {"seven"}]
    (figure,), (word,) = ({patch for patch, name in seen[turn] if name == "seven"} for turn in (3, 7))
    assert figure % 4 in (1, 2) and word % 4 == 3 and all(not turn for turn in seen[11:])


def test_how_far_somebody_is_into_a_repetition_is_told_with_how_far_a_turn_ago() -> None:
    scene = Scene(np.random.default_rng(0))
    someone = scene.person("squat", x=70)
    someone.do("squat", [Span(0.2, 1.2)])
    scene.thing("ball", "red", Span(0.0, 9.0), 130, 40, size=9)
    told = phases(SceneFilm((160, 120), scene.script(16))).reshape(8, 12, 2)
    (where,) = np.flatnonzero((told >= 0).any((0, 2)))
    assert where // 4 == 2 and where % 4 == 1  # at the feet; of a ball nothing is told
    far, before = told[:, where].T
    assert far[0] == 0 and far[2] > 0.7 and far[6] == 0 and np.array_equal(before[1:], far[:-1]) and before[0] == far[0]
    nobody = replace(script(4, since=0), cast=None)
    assert (phases(SceneFilm((160, 120), nobody)) == -1).all()


def test_films_of_a_batch_do_not_run_into_each_other() -> None:
    one, two = SceneFilm((120, 80), script(6, since=0)), SceneFilm((120, 80), script(4, since=4))
    both = scene_targets([one, two])
    assert torch.equal(both, torch.cat([scene_targets([one]), scene_targets([two])]))


def test_what_is_asked_is_what_is_drawn_and_lost_pictures_are_not_asked_for() -> None:
    mel = torch.full((4 * 4, 80), -5.0).half()
    seen = Rendered("toy_seen", mel, [], [], scene=script(8, since=4))
    lossy = replace(seen, unseen=[1])
    batch = collate([seen, lossy], TOKENIZER, np.random.default_rng(0), (160, 120)).to(torch.device("cpu"))
    assert batch.sight is not None and batch.tokens.patches is not None
    assert len(batch.sight) == len(batch.tokens.patches) == 4 * 12 + 3 * 12
    whole = scene_targets([SceneFilm((160, 120), script(8, since=4))]).view(4, 12, -1)
    assert torch.equal(batch.sight[48:].view(3, 12, -1), whole[[0, 2, 3]])
    assert collate([replace(seen, scene=None)], TOKENIZER, np.random.default_rng(0)).sight is None


def test_the_loss_is_least_where_all_is_made_out() -> None:
    box = [110, 70, COLOURS.index("red"), KINDS.index("square"), 0, 0]
    cast = np.tile(np.array([box, [60, 110, -1, KINDS.index("wave"), 0, 0.8]], np.float16), (8, 1, 1))
    cast[:2, 0, 3], cast[4:, 1, 5] = -1, 0.2
    target = scene_targets([SceneFilm((160, 120), replace(script(8, since=2), cast=cast))])
    right = target.clone()
    right[:, : 2 * N_CELLS] = 20 * target[:, : 2 * N_CELLS] - 10  # logits
    right[:, -N_NAMES:] = 20 * target[:, -N_NAMES:] - 10
    assert float(sight_loss(right, target)) < 5e-3
    for part in range(len(WIDTHS)):
        wrong = list(right.split(WIDTHS, 1))
        wrong[part] = wrong[part].flip(0)
        assert float(sight_loss(torch.cat(wrong, 1), target)) > 0.05


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    rng, found = np.random.default_rng(0), []
    for i in range(6):
        scene = Scene(rng)
        scene.thing("ball", "red", Span(0.4 + 0.2 * i, 9.0), 80, 60, size=25)
        found.append(Rendered("toy_seen", torch.full((48, 80), -5.0).half(), [], [], [], scene.script(24)))
    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards" / "episodes-00000.safetensors", found)
    return opened(tmp_path)


def opened(folder: Path) -> Trainer:
    cfg: TrainConfig = replace(TRAIN_PRESETS["pico"], curriculum=(("seeing", 1.0),), steps=20, budget=1024, warmup=1)
    return open_trainer("pico", folder / "run", ((folder / "shards", 1.0),), cfg, True, "cpu")


def test_it_is_learned_and_kept_with_the_run_and_not_with_the_model(trainer: Trainer, tmp_path: Path) -> None:
    batch = next(trainer.batches())
    seen = [trainer.one_step(batch)["sight"] for _ in range(12)]
    assert seen[-1] < 0.8 * seen[0]
    trainer.folder.mkdir()
    trainer.save()
    again = opened(tmp_path)
    assert {*trainer.heads} == {*again.heads} == {"sight"}
    for name, tensor in trainer.heads.state_dict().items():
        assert torch.equal(again.heads.state_dict()[name], tensor), name
    model, _ = load_checkpoint(trainer.folder)
    assert not any("sight" in name for name in model.state_dict())


def test_a_run_that_was_begun_without_the_head_goes_on_without_it(trainer: Trainer, tmp_path: Path) -> None:
    heard = replace(trainer.cfg, curriculum=(("all", 1.0),))
    earlier = open_trainer("pico", trainer.folder, trainer.lessons, heard, False, "cpu")
    earlier.one_step(next(earlier.batches()))
    trainer.folder.mkdir()
    earlier.save()
    again = opened(tmp_path)
    assert {*again.heads} == set() and again.step == 1
    again.one_step(next(again.batches()))


def test_without_scenes_nothing_is_asked(trainer: Trainer, scenes) -> None:
    batch = collate(scenes(2), TOKENIZER, np.random.default_rng(0))
    heads = nn.ModuleDict({"sight": SightHead(trainer.model.cfg.d_model)})
    found = losses(trainer.model, batch, TOKENIZER.id(SILENT), trainer.cfg, torch.Generator(), heads)
    assert found["sight"].item() == 0.0
    assert "sight" not in losses(trainer.model, batch, TOKENIZER.id(SILENT), trainer.cfg, torch.Generator())
    heard = replace(trainer.cfg, curriculum=(("all", 1.0),))
    assert open_trainer("pico", trainer.folder, trainer.lessons, heard, False, "cpu").heads.keys() == set()
