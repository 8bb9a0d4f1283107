"""Training: targets stand where the layout says, losses fall, a stopped run resumes, a seed reproduces."""

from __future__ import annotations

import gc
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tml_lab.config import OUT_DIM, TRAIN_PRESETS
from tml_lab.model.checkpoint import CheckpointError, load_checkpoint
from tml_lab.model.text import AUDIO, SILENT, SPEAK, TextTokenizer
from tml_lab.stream.layout import NO_TARGET, Stream
from tml_lab.train.feed import ROW_LENGTHS, Feed, collate, count_tokens, episode_layout, voice_tokens
from tml_lab.train.loop import open_trainer, train
from tml_lab.train.losses import filled_up
from tml_lab.train.optimizer import orthogonalise
from tml_lab.train.prefetch import Prefetch
from tml_lab.train.shards import Rendered, read_shard, write_shard
from tml_lab.train.vary import throat
from tml_lab.worlds.families.hearing import DICTATION
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())



@pytest.fixture(scope="module")
def folder(scenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("episodes")
    for i in range(2):
        write_shard(path / f"episodes-{i:05d}.safetensors", scenes(24, seed=i))
    return path


def test_shards_come_back_as_they_were(scenes, folder: Path) -> None:
    for was, now in zip(scenes(24, seed=1), read_shard(folder / "episodes-00001.safetensors"), strict=True):
        assert torch.equal(was.mel, now.mel)
        assert vars(was) | {"mel": 0} == vars(now) | {"mel": 0}


def test_targets_stand_where_the_layout_says(scenes) -> None:
    batch = collate(scenes(3), TOKENIZER, np.random.default_rng(0))
    rows, n = batch.shape
    stream, target = batch.tokens.stream, batch.target
    silent, speak, audio, yes = (TOKENIZER.id(w) for w in (SILENT, SPEAK, AUDIO, "yes"))
    decides = (target == silent) | (target == speak)
    assert (stream[decides] == Stream.AUDIO_IN).all() and int(decides.sum()) == batch.n_turns
    words = (target == yes).nonzero().flatten()
    assert len(words) == rows and (batch.tokens.token[words] == speak).all()
    last = (target == audio).nonzero().flatten()  # each speaking turn hands over to the mouth once
    assert torch.equal(last, batch.voice_from[::4])
    assert torch.equal(batch.voice_target[:4], voice_tokens("yes", 0)) and batch.voice_target.shape[1] == OUT_DIM
    assert (target.view(rows, n)[:, -1] == NO_TARGET).all()


def test_video_stands_in_its_place(scenes) -> None:
    laid = collate(scenes(2), TOKENIZER, np.random.default_rng(0), video=(160, 120))
    assert laid.tokens.patches is None  # drawn where the model is, not where batches are laid out
    batch, again = laid.to(torch.device("cpu")), laid.to(torch.device("cpu"))
    seen = batch.tokens.stream == Stream.VIDEO_IN
    assert batch.tokens.patches is not None and int(seen.sum()) == len(batch.tokens.patches) == 12 * batch.n_turns
    assert batch.tokens.patches.std() > 0.1 and torch.equal(batch.tokens.patches, again.tokens.patches)


def test_batches_made_ahead_repeat_and_follow_the_folder(scenes, folder: Path, tmp_path: Path) -> None:
    def ahead() -> Prefetch:
        return Prefetch(Feed(folder, TOKENIZER, seed=3, budget=1024), n_workers=2)

    def sounds(feed: Prefetch, n: int) -> list[torch.Tensor]:
        batches = [batch for batch, _ in zip(iter(feed), range(n), strict=False)]
        return [batch.tokens.heard for batch in batches if batch.tokens.heard is not None]

    once, again = sounds(ahead(), 5), sounds(ahead(), 5)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    later = ahead()
    later.skip(5)
    assert not torch.equal(sounds(later, 1)[0], once[0])
    write_shard(tmp_path / "episodes-00000.safetensors", scenes(2, seed=9))
    feed, turns = ahead(), []
    for batch, _ in zip(iter(feed), range(4), strict=False):
        turns.append(batch.n_turns)
        feed.folder = tmp_path
    assert turns[1:] == [sum(e.n_turns for e in scenes(2, seed=9))] * 3


class Collecting(Feed):
    """Collects garbage in the process that makes the batches."""

    def __iter__(self):
        gc.enable()
        gc.collect()
        yield from super().__iter__()


class Loop:
    """Refers to itself; its end is noted, with the process."""

    def __init__(self, ends: Path) -> None:
        self.me, self.ends = self, ends

    def __del__(self) -> None:
        with self.ends.open("a") as file:
            file.write(f"{os.getpid()}\n")


def test_processes_that_make_batches_do_not_collect_what_they_inherit(folder: Path, tmp_path: Path) -> None:
    """A finalizer may wait for threads that a forked process lacks: a video decoder's did, for ever."""
    gc.collect()
    gc.disable()
    try:
        Loop(tmp_path / "ends")  # garbage from here on, until somebody collects it
        next(iter(Prefetch(Collecting(folder, TOKENIZER, seed=3, budget=1024), n_workers=1)))
    finally:
        gc.enable()
    gc.collect()
    assert (tmp_path / "ends").read_text().split() == [str(os.getpid())]


def test_a_run_that_must_end_sooner_follows_the_clock(folder: Path, tmp_path: Path) -> None:
    cfg = replace(TRAIN_PRESETS["pico"], steps=100, minutes=2.0, warmup=1, cooldown=0.5)
    trainer = open_trainer("pico", tmp_path, ((folder, 1.0),), cfg, resume=False, device="cpu")
    trainer.step, trainer.seconds = 10, 90.0  # three quarters of its time, a tenth of its steps
    assert trainer.done() == 0.75 and trainer.rate() == pytest.approx(0.5)
    trainer.seconds = 6.0
    assert trainer.done() == 0.1 and trainer.rate() == 1.0
    train("pico", tmp_path / "run", episodes=folder, steps=1000, minutes=1e-6)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 1


def test_losses_fall_and_the_run_resumes_and_repeats(folder: Path, tmp_path: Path) -> None:
    def rows(out: Path) -> list[dict]:
        return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]

    once = train("pico", tmp_path / "a", episodes=folder, steps=16, seed=7)
    assert rows(once)[-1]["text"] < rows(once)[0]["text"] - 0.3  # sixteen steps, nearly all of them warm-up
    again = train("pico", tmp_path / "b", episodes=folder, steps=16, seed=7)
    for first, second in zip(rows(once), rows(again), strict=True):
        assert (first["text"], first["flow"]) == (second["text"], second["flow"])
    train("pico", tmp_path / "b", episodes=folder, steps=18, seed=7)
    assert [row["step"] for row in rows(again)][-2:] == [17, 18]
    model, tokenizer = load_checkpoint(once)
    assert not model.training and tokenizer.names == TOKENIZER.names


def test_scores_are_written_by_step_and_the_model_goes_on_training(folder: Path, tmp_path: Path) -> None:
    seen: list[bool] = []

    def score(model, tokenizer) -> dict[str, float]:
        seen.append(model.training)
        return {"repeat_numbers": 0.25}

    out = train("pico", tmp_path, episodes=folder, steps=5, score=score, score_every=2)
    rows = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 5] and rows[0]["scores"] == {"repeat_numbers": 0.25}
    assert seen == [False, False, False]


@pytest.mark.parametrize("in_minutes", [False, True])
def test_lessons_follow_one_another(folder: Path, tmp_path: Path, in_minutes: bool) -> None:
    (tmp_path / "second").mkdir()
    shard = next(folder.glob("*.safetensors"))
    (tmp_path / "second" / shard.name).write_bytes(shard.read_bytes())
    cfg = replace(TRAIN_PRESETS["pico"], steps=10_000 if in_minutes else 10, minutes=1.0 if in_minutes else None)
    lessons = ((folder, 0.3), (tmp_path / "second", 1.0))
    trainer = open_trainer("pico", tmp_path / "run", lessons, cfg, resume=False, device="cpu")
    batches, folders = trainer.batches(), []
    for _ in range(12):  # two more than the run has: the last lesson stays
        next(batches)
        folders.append(trainer.feed.folder)
        trainer.step += 1
        trainer.seconds += 6.0
    assert folders == [folder] * 3 + [tmp_path / "second"] * 9


def test_a_stretched_throat_moves_the_channels() -> None:
    mel = torch.zeros(3, 80)
    mel[:, 40] = 1.0
    peaks = {factor: int(throat(mel, factor, factor)[0].argmax()) for factor in (0.9, 1.0, 1.1)}
    assert peaks[0.9] < peaks[1.0] == 40 < peaks[1.1]
    torch.testing.assert_close(throat(mel, 1.0, 1.0), mel, atol=1e-4, rtol=0)


def test_a_damaged_checkpoint_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    out = train("pico", tmp_path, episodes=folder, steps=1)
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(out)
    with pytest.raises(CheckpointError, match="tml train"):
        load_checkpoint(tmp_path / "nowhere")


def test_no_episodes_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no training episodes"):
        next(iter(Feed(tmp_path, TOKENIZER, 0)))


@pytest.mark.parametrize("shape", [(2, 40, 16), (1, 16, 40), (3, 24, 24)])
def test_muon_evens_out_singular_values(shape: tuple[int, ...]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix).float())
    assert values.quantile(0.1) > 0.4 and values.max() < 1.4


def test_rates_and_the_weight_of_silence(folder: Path, tmp_path: Path) -> None:
    cfg = replace(TRAIN_PRESETS["pico"], steps=100, warmup=10, cooldown=0.5, silent_weight=0.2)
    trainer = open_trainer("pico", tmp_path, ((folder, 1.0),), cfg, resume=False, device="cpu")
    rates, weights = [], []
    for step in (0, 10, 50, 75, 100):
        trainer.step = step
        rates.append(trainer.rate())
        weights.append(trainer.silent_weight())
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])
    assert weights == pytest.approx([0.2, 0.2, 0.2, 0.6, 1.0])


def test_dictation_asks_for_no_word_and_is_listened_to(scenes) -> None:
    one, other = scenes(2)
    one.family = DICTATION
    batch = collate([one, other], TOKENIZER, np.random.default_rng(0))
    target = batch.target.view(batch.shape)
    assert (target[0] == NO_TARGET).all() and (target[1] != NO_TARGET).any()
    assert batch.n_words.tolist() == [2, 2]


def test_rows_have_few_lengths_and_batches_keep_to_their_budget(scenes, folder: Path) -> None:
    feed = Feed(folder, TOKENIZER, seed=3, budget=1024)
    for batch, _ in zip(iter(feed), range(12), strict=False):
        rows, n = batch.shape
        assert n in ROW_LENGTHS and rows * n <= 1024
    for episode in scenes(20, seed=5):
        layout, _ = episode_layout(episode, TOKENIZER, 0)
        assert len(layout.stream) <= count_tokens(episode)


def test_what_fills_a_batch_up_does_not_count() -> None:
    index, counts = filled_up(torch.arange(7), 5)
    assert len(index) == 10 and counts.tolist() == [1.0] * 7 + [0.0] * 3
    assert len(filled_up(torch.arange(10), 5)[0]) == 10
    assert filled_up(torch.arange(0), 5)[1].tolist() == [0.0] * 5


def test_a_batch_of_nothing_but_dictation_has_a_loss(scenes, folder: Path, tmp_path: Path) -> None:
    episodes = scenes(3)
    for episode in episodes:
        episode.family = DICTATION
    trainer = open_trainer("pico", tmp_path, ((folder, 1.0),), TRAIN_PRESETS["pico"], False, "cpu")
    row = trainer.one_step(collate(episodes, TOKENIZER, np.random.default_rng(0)))
    assert row["text"] == 0.0 and row["listen"] > 0.0
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_episodes_are_rendered_while_the_model_trains(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="no voice to render with")
    out = train("pico", tmp_path / "run", episodes=tmp_path / "episodes", steps=2, render=1)
    assert len(list((tmp_path / "episodes").glob("*.safetensors"))) >= 2
    assert len((out / "log.jsonl").read_text().splitlines()) == 2


def test_what_is_rendered_meanwhile_is_one_lesson() -> None:
    with pytest.raises(ValueError, match="one lesson only"):
        train("nano", render=1, steps=1)


def test_processes_take_batches_of_about_one_size_at_each_step(tmp_path: Path) -> None:
    """Other episodes, other draws; yet nobody waits long for another's larger batch, and nothing is left out."""

    def rows(n: int, seed: int) -> list[Rendered]:
        lengths = np.random.default_rng(seed).integers(10, 120, n)
        return [Rendered("toy", torch.full((4 * int(turns), 80), -5.0).half(), [], []) for turns in lengths]

    sizes = []
    for rank in (0, 1):
        folder = tmp_path / f"{rank}"
        folder.mkdir()
        write_shard(folder / "episodes-00000.safetensors", rows(200, rank))
        feed = Feed(folder, TOKENIZER, seed=rank, budget=640, camera_share=0.0)
        batches = [batch for batch, _ in zip(iter(feed), range(80), strict=False)]
        sizes.append(np.array([batch.shape[0] * batch.shape[1] for batch in batches], float))
    ours, theirs = sizes
    assert np.maximum(ours, theirs).mean() < 1.05 * ours.mean()
    assert np.maximum(ours, np.roll(theirs, 1)).mean() > 1.1 * ours.mean()  # it is the order that does it
    assert len({*ours[:6]}) > 2  # large and small by turns


def test_every_episode_of_a_pool_comes_once(scenes, tmp_path: Path) -> None:
    write_shard(tmp_path / "episodes-00000.safetensors", scenes(30))
    feed = Feed(tmp_path, TOKENIZER, seed=1, budget=1024, camera_share=0.0)
    pool = scenes(30)
    shown = [id(episode) for group in feed._in_step(feed._groups(pool)) for episode in group]
    assert sorted(shown) == sorted(id(episode) for episode in pool)
