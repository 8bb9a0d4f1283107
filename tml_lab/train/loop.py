"""The training loop: from random weights to a checkpoint, resumable at any moment, the same for the same seed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tml_lab.config import PRESETS, TrainConfig
from tml_lab.model.checkpoint import load_checkpoint, new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.model.vocoder import Vocoder
from tml_lab.train.beforehand import STATE, VOCODER, checked_settings
from tml_lab.train.compiled import compile_parts
from tml_lab.train.feed import Feed
from tml_lab.train.grow import grow, with_eyes_of
from tml_lab.train.heads import heads_for, heads_of_run, new_heads
from tml_lab.train.heap import give_back
from tml_lab.train.lessons import Lessons, render_lessons, rendered_meanwhile
from tml_lab.train.parallel import agreed, join, stopping_together, wait_for_all
from tml_lab.train.prefetch import Prefetch
from tml_lab.train.sharded import shard
from tml_lab.train.trainer import Score, Trainer
from tml_lab.train.vocoder import load_vocoder, train_vocoder
from tml_lab.worlds.curriculum import GLIMPSES
from tml_lab.worlds.vocabulary import world_of

EYES = ("embed_video.",)  # what learns where a trained model is shown glimpses


def open_trainer(
    preset: str,
    folder: Path,
    lessons: Lessons,
    cfg: TrainConfig,
    resume: bool,
    device: str,
    init: str | None = None,
    eyes: str | None = None,
    vocoder: Vocoder | None = None,
    sharded: bool = False,
    workers: int = 0,
    words: Iterable[str] | None = None,
) -> Trainer:
    """A trainer with fresh weights, or with those of `init`, or with all of an interrupted run's state.

    `vocoder`: its weights go into the model. `sharded`: the weights are divided among the processes (see
    `tml_lab.train.sharded`). `workers`: processes that make batches ahead; 0: this one makes them. `words`: that
    the model must know, those of the lessons unless they are given; `init` learns what it lacks.
    """
    rank, _ = join()
    words = world_of(name for name, _ in cfg.curriculum) if words is None else words
    tokenizer = TextTokenizer.build(words)
    going_on = resume and (folder / STATE).is_file()
    if going_on or init:
        model, tokenizer = load_checkpoint(folder if going_on else init or "", device)
        if not going_on:
            model, tokenizer = grow(model, tokenizer, words, cfg.seed)
            model = with_eyes_of(model, load_checkpoint(eyes, device)[0], cfg.seed) if eyes else model
        model.requires_grad_(True)
    else:
        model = new_model(preset, tokenizer, cfg.seed).to(device)
    model.vocoder.requires_grad_(False)  # it has its own training: the same mels, no backbone needed
    for name, parameter in model.named_parameters() if cfg.only else ():
        parameter.requires_grad_(parameter.requires_grad and name.startswith(cfg.only))
    if vocoder is not None:
        model.vocoder.load_state_dict(vocoder.state_dict())
    if sharded:
        shard(model)
    seed = cfg.seed + 1 + 1000 * rank
    camera = cfg.camera_share, cfg.camera_budget
    feed = Feed(lessons[0][0], tokenizer, seed, cfg.budget, cfg.seed, *camera, cfg.late_share)
    ahead = Prefetch(feed, workers) if workers else feed
    heads = new_heads(model.cfg, heads_of_run(folder) if going_on else () if sharded else heads_for(cfg), cfg.seed)
    trainer = Trainer(model.train(), tokenizer, cfg, folder, ahead, lessons, heads.to(device))
    if going_on:
        trainer.resume()
    return trainer


def train(
    preset: str = "nano",
    out: Path | str = "runs/nano",
    minutes: float | None = None,
    resume: bool = True,
    seed: int = 0,
    episodes: Path | str | None = None,
    steps: int | None = None,
    device: str = "cpu",
    init: str | None = None,
    eyes: str | None = None,
    save_every: float = 120.0,
    compiled: bool = False,
    lesson: str | None = None,
    score: Score | None = None,
    score_every: int = 0,
    sharded: bool = False,
    workers: int | None = None,
    render: int = 0,
    cfg: TrainConfig | None = None,
    words: Iterable[str] | None = None,
) -> Path:
    """Train a preset; returns the folder of its checkpoint.

    Stops after `steps` (default: the preset's) or `minutes` of training, earlier runs counted in, whichever comes
    first; the learning rate falls accordingly. `workers`: processes that make batches ahead (on a GPU four by
    default, else none). `resume` goes on where an
    earlier run in `out` stopped. `episodes`: a folder of rendered episodes; by default those of the preset's
    curriculum are rendered first, under `data/cache/`, or those of one `lesson` (easy, all) alone; `render`: so many
    processes go on rendering that lesson's while the model trains. `init`: a
    checkpoint to start from, at `TrainConfig.going_on`'s rates; where the one `lesson` is `glimpses`, its eyes alone
    learn, and what it could it still can; `eyes`: another checkpoint, which sees and lends it its eyes
    (`tml_lab.train.grow.with_eyes_of`). `sharded`: in several processes, each of which keeps
    its share of the weights (FSDP2). Losses go to `out/log.jsonl`. A keyboard interrupt saves and returns.
    `cfg`: settings instead of the preset's. `words`: that the model must know, those of the lessons unless they are
    given; `init` learns what it lacks.
    `compiled` uses `torch.compile` where a C++ compiler is found. `score` gives scores by name, asked for every
    `score_every` steps and at the end, and written to `out/scores.jsonl`.

    Raises ValueError in one sentence, before anything is rendered or written, for what `checked_settings` can know.
    """
    cfg = checked_settings(
        preset, out, cfg=cfg, lesson=lesson, init=init, eyes=eyes, episodes=episodes, device=device, resume=resume,
        render=render, seed=seed, sharded=sharded, scored=score is not None,
    )  # fmt: skip
    cfg = replace(cfg, seed=seed, steps=steps or cfg.steps, minutes=minutes)
    cfg = replace(cfg, only=EYES) if init and lesson == GLIMPSES else cfg
    on_gpu = torch.device(device).type == "cuda"
    cfg = replace(cfg, budget=cfg.cuda_budget, camera_budget=1.0) if on_gpu else cfg
    cfg = replace(cfg, as_shipped_from=2.0) if sharded else cfg  # nobody holds a whole row to round
    folder = Path(out)
    lessons = ((Path(episodes), 1.0),) if episodes else render_lessons(cfg, render)
    vocoder = _trained_vocoder(preset, folder_for(folder) / VOCODER, cfg, device)
    ahead = workers if workers is not None else 4 if on_gpu else 0
    trainer = open_trainer(preset, folder, lessons, cfg, resume, device, init, eyes, vocoder, sharded, ahead, words)
    if compiled:
        compile_parts(trainer.model)
    started, saved = time.monotonic(), time.monotonic()
    before = trainer.seconds
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    meanwhile = rendered_meanwhile(lessons[0][0], render, cfg.curriculum[0][0])
    log_file = (folder_for(folder) / "log.jsonl").open("a")
    with meanwhile, Progress(*columns) as progress, log_file as log, stopping_together() as wished:
        task = progress.add_task(f"train {preset}", total=cfg.steps, completed=trainer.step)
        try:
            for batch in trainer.batches():
                row = trainer.one_step(batch)
                clock = time.monotonic()
                wishes = agreed(before + clock - started, clock - saved > save_every, wished())
                trainer.seconds, save_now, stop_now = wishes
                row |= {"step": trainer.step, "seconds": round(trainer.seconds, 1), "turns": batch.n_turns}
                if join()[0] == 0:
                    log.write(json.dumps({k: round(v, 4) for k, v in row.items()}) + "\n")
                    log.flush()
                if trainer.step % 20 == 0:
                    trainer.log.append(row)
                    give_back()
                progress.update(task, completed=trainer.done() * cfg.steps, description=_describe(row))
                if save_now:
                    trainer.save()
                    saved = time.monotonic()
                if score and score_every and trainer.step % score_every == 0:
                    trainer.write_scores(score)
                if trainer.done() >= 1.0:
                    break
                if stop_now:
                    raise KeyboardInterrupt  # in all processes after the same step
        except KeyboardInterrupt:
            progress.console.print("interrupted: saving; the same command goes on from here")
            trainer.save()
            wait_for_all()
            return folder
        trainer.save()
        wait_for_all()  # nobody takes a run up before it is written
        if score and trainer.done() >= 1.0:
            trainer.write_scores(score)
    return folder


def _trained_vocoder(name: str, weights: Path, cfg: TrainConfig, device: str) -> Vocoder | None:
    """The reply voice's vocoder, trained first (resumable) unless this run has one or the preset asks for none."""
    width, depth = PRESETS[name].vocoder_width, PRESETS[name].vocoder_depth
    if not weights.is_file() and cfg.vocoder_steps and join()[0] == 0:
        run = folder_for(weights.parent)
        train_vocoder(cfg.vocoder_steps, out=weights, run=run, seed=cfg.seed, width=width, depth=depth, device=device)
    return load_vocoder(weights, width, depth) if weights.is_file() else None


def _describe(row: dict[str, float]) -> str:
    return " ".join(f"{name} {row[name]:.3f}" for name in ("text", "flow", "listen"))


def folder_for(path: Path) -> Path:
    """Make sure the folder is there."""
    path.mkdir(parents=True, exist_ok=True)
    return path
