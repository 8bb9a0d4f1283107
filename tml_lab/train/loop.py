"""The training loop: from random weights to a checkpoint, resumable at any moment, the same for the same seed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from tml_lab.config import PRESETS, TRAIN_PRESETS, TrainConfig
from tml_lab.model.checkpoint import load_checkpoint, new_model, save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SILENT, TextTokenizer
from tml_lab.model.vocoder import Vocoder
from tml_lab.train.as_shipped import as_shipped
from tml_lab.train.balance import balance
from tml_lab.train.compiled import compile_parts
from tml_lab.train.feed import Batch, Feed
from tml_lab.train.grow import grow
from tml_lab.train.heap import give_back
from tml_lab.train.lessons import Lessons, render_lessons, rendered_meanwhile
from tml_lab.train.losses import losses
from tml_lab.train.optimizer import Muon, split_parameters
from tml_lab.train.parallel import agreed, average_gradients, join, wait_for_all
from tml_lab.train.prefetch import Prefetch
from tml_lab.train.sharded import in_shares, is_sharded, shard, whole
from tml_lab.train.sight import SightHead
from tml_lab.train.vocoder import load_vocoder, train_vocoder
from tml_lab.worlds.episode import LESSONS, SEEING, closed_world

Score = Callable[[InteractionModel, TextTokenizer], dict[str, float]]


@dataclass
class Trainer:
    """Everything one training run holds; `save` and `resume` keep all of it."""

    model: InteractionModel
    tokenizer: TextTokenizer
    cfg: TrainConfig
    folder: Path
    feed: Feed | Prefetch
    lessons: Lessons
    sight: SightHead | None = None
    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        matrices, rest, fast, tables = split_parameters(self.model)
        self.muon = Muon(matrices, self.cfg.lr_muon, weight_decay=self.cfg.weight_decay)
        if self.sight is not None:
            rest = [*rest, *self.sight.parameters()]
        groups = [
            {"params": rest, "lr": self.cfg.lr_adamw, "base": self.cfg.lr_adamw},
            {"params": fast, "lr": self.cfg.lr_fast, "base": self.cfg.lr_fast},
            {"params": tables, "lr": self.cfg.lr_tables, "base": self.cfg.lr_tables},
        ]
        self.adamw = torch.optim.AdamW(groups, betas=(0.8, 0.95), weight_decay=0.0, fused=True)
        device = next(self.model.parameters()).device
        self.generator = torch.Generator(device).manual_seed(self.cfg.seed)
        self.silent = self.tokenizer.id(SILENT)

    def done(self) -> float:
        """The share of the run that lies behind: of its steps, or of its minutes where they end first."""
        in_time = self.seconds / (60 * self.cfg.minutes) if self.cfg.minutes else 0.0
        return max(self.step / self.cfg.steps, in_time)

    def cooldown(self) -> float:
        """1 at first, then down to 0 in a straight line over the last `cooldown` of the run."""
        return max(0.0, min(1.0, (1.0 - self.done()) / self.cfg.cooldown)) if self.cfg.cooldown else 1.0

    def rate(self) -> float:
        """The learning rate's share at this step: warm-up, plateau, linear cooldown."""
        return min((self.step + 1) / self.cfg.warmup, self.cooldown())

    def silent_weight(self) -> float:
        """What a silent decision weighs: little at first, or the model would learn to say nothing; as much as any
        other in the end, or it would go on speaking when it had better not."""
        return 1.0 - (1.0 - self.cfg.silent_weight) * self.cooldown()

    def weights(self) -> dict[str, float]:
        """What each loss weighs in their sum."""
        heard = {"text": 1.0, "flow": self.cfg.flow_weight, "listen": self.cfg.listen_weight}
        return heard if self.sight is None else heard | {"sight": self.cfg.sight_weight}

    def parameters(self) -> list[nn.Parameter]:
        """The model's, and those of the head that only training needs."""
        return [*self.model.parameters(), *([] if self.sight is None else self.sight.parameters())]

    def batches(self) -> Iterator[Batch]:
        """The feed's batches, lesson after lesson."""
        batches = iter(self.feed)
        while True:
            due = [folder for folder, until in self.lessons if self.step < until * self.cfg.steps]
            self.feed.folder = (due or [self.lessons[-1][0]])[0]
            yield next(batches)

    def one_step(self, batch: Batch) -> dict[str, float]:
        """Forward, backward, update, balance; returns the scalars to log."""
        device = next(self.model.parameters()).device
        batch = batch.to(device)
        cfg = replace(self.cfg, silent_weight=self.silent_weight())
        with as_shipped(self.model) if self.done() >= self.cfg.as_shipped_from else nullcontext():
            with torch.autocast(device.type, torch.bfloat16):
                parts = losses(self.model, batch, self.silent, cfg, self.generator, self.sight)
            torch.stack([weight * parts[name] for name, weight in self.weights().items()]).sum().backward()
        if not is_sharded(self.model):  # else they were averaged where they were divided
            average_gradients(self.parameters())
        rest = [p for group in self.adamw.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        rate = self.rate()
        for optimizer in (self.muon, self.adamw):
            for group in optimizer.param_groups:
                group["lr"] = group.get("base", self.cfg.lr_muon) * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.balance()
        self.step += 1
        return {name: float(value.detach()) for name, value in parts.items()}

    def balance(self) -> None:
        """Nudge each router's bias towards even load."""
        balance(self.model)

    def write_scores(self, score: Score) -> None:
        """Append what `score` says of the weights as they are to `scores.jsonl`."""
        if join()[0] > 0:
            return
        self.model.eval()
        row = {"step": self.step, "scores": score(self.model, self.tokenizer)}
        self.model.train()
        with (self.folder / "scores.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Checkpoint and optimizer state; a kill in the middle leaves the earlier one whole."""
        tensors = whole(self.model.state_dict())
        state = {
            "step": self.step, "seconds": self.seconds, "muon": whole(self.muon.state_dict()),
            "adamw": whole(self.adamw.state_dict()), "rng": self.generator.get_state(), "log": self.log,
            "sight": None if self.sight is None else self.sight.state_dict(),
        }  # fmt: skip
        if join()[0] == 0:  # one process writes for all
            notes = {"step": self.step, "seconds": round(self.seconds), "train": vars(self.cfg), "log": self.log[-200:]}
            save_checkpoint(self.folder, self.model, self.tokenizer, notes, tensors=tensors)
            scratch = self.folder / "trainer.pt.tmp"
            torch.save(state, scratch)
            scratch.replace(self.folder / "trainer.pt")

    def resume(self) -> None:
        """Go on from the state in `folder`."""
        state = torch.load(self.folder / "trainer.pt", weights_only=True)
        self.step, self.seconds, self.log = state["step"], state["seconds"], state["log"]
        self.muon.load_state_dict(in_shares(state["muon"], self.muon))
        self.adamw.load_state_dict(in_shares(state["adamw"], self.adamw))
        self.generator.set_state(state["rng"])
        if self.sight is not None:
            self.sight.load_state_dict(state["sight"])
        self.feed.skip(self.step)  # other batches than the ones seen before the stop


def open_trainer(
    preset: str,
    folder: Path,
    lessons: Lessons,
    cfg: TrainConfig,
    resume: bool,
    device: str,
    init: str | None = None,
    vocoder: Vocoder | None = None,
    sharded: bool = False,
    workers: int = 0,
    words: Iterable[str] | None = None,
) -> Trainer:
    """A trainer with fresh weights, or with those of `init`, or with all of an interrupted run's state.

    `vocoder`: its weights go into the model. `sharded`: the weights are divided among the processes (see
    `tml_lab.train.sharded`). `workers`: processes that make batches ahead; 0: this one makes them. `words`: that
    the model must know, those of the whole world unless they are given; `init` learns what it lacks.
    """
    rank, _ = join()
    words = closed_world() if words is None else words
    tokenizer = TextTokenizer.build(words)
    going_on = resume and (folder / "trainer.pt").is_file()
    if going_on or init:
        model, tokenizer = load_checkpoint(folder if going_on else init or "", device)
        if not going_on:
            model, tokenizer = grow(model, tokenizer, words, cfg.seed)
        model.requires_grad_(True)
    else:
        model = new_model(preset, tokenizer, cfg.seed).to(device)
    model.vocoder.requires_grad_(False)  # it has its own training: the same mels, no backbone needed
    if vocoder is not None:
        model.vocoder.load_state_dict(vocoder.state_dict())
    if sharded:
        shard(model)
    feed = Feed(lessons[0][0], tokenizer, cfg.seed + 1 + 1000 * rank, cfg.budget, cfg.seed, cfg.camera_share)
    ahead = Prefetch(feed, workers) if workers else feed
    with torch.random.fork_rng(devices=[]):  # all processes start from one head
        torch.manual_seed(cfg.seed)
        sight = SightHead(model.cfg.d_model, model.cfg.rms_eps).to(device) if _is_seen(cfg) and not sharded else None
    trainer = Trainer(model.train(), tokenizer, cfg, folder, ahead, lessons, sight)
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
    checkpoint to start from, at `TrainConfig.going_on`'s rates. `sharded`: in several processes, each of which keeps
    its share of the weights (FSDP2). Losses go to `out/log.jsonl`. A keyboard interrupt saves and returns.
    `cfg`: settings instead of the preset's. `words`: that the model must know, those of the whole world unless they
    are given; `init` learns what it lacks.
    `compiled` uses `torch.compile` where a C++ compiler is found. `score` gives scores by name, asked for every
    `score_every` steps and at the end, and written to `out/scores.jsonl`.
    """
    if cfg is None:
        cfg = TRAIN_PRESETS.get(preset, TrainConfig())
        cfg = cfg.going_on() if init else cfg
    if sharded and score:
        raise ValueError("scores are taken by one process with whole weights: leave out score_every or sharded")
    cfg = replace(cfg, seed=seed, steps=steps or cfg.steps, minutes=minutes)
    cfg = replace(cfg, curriculum=((lesson, 1.0),)) if lesson else cfg
    on_gpu = torch.device(device).type == "cuda"
    cfg = replace(cfg, budget=cfg.cuda_budget) if on_gpu else cfg
    cfg = replace(cfg, as_shipped_from=2.0) if sharded else cfg  # nobody holds a whole row to round
    folder = Path(out)
    lessons = ((Path(episodes), 1.0),) if episodes else render_lessons(cfg, render)
    vocoder = _trained_vocoder(preset, folder_for(folder) / "vocoder", cfg, device)
    ahead = workers if workers is not None else 4 if on_gpu else 0
    trainer = open_trainer(preset, folder, lessons, cfg, resume, device, init, vocoder, sharded, ahead, words)
    if compiled:
        compile_parts(trainer.model)
    started, saved = time.monotonic(), time.monotonic()
    before = trainer.seconds
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    meanwhile = rendered_meanwhile(lessons[0][0], render, cfg.curriculum[0][0])
    with meanwhile, Progress(*columns) as progress, (folder_for(folder) / "log.jsonl").open("a") as log:
        task = progress.add_task(f"train {preset}", total=cfg.steps, completed=trainer.step)
        try:
            for batch in trainer.batches():
                row = trainer.one_step(batch)
                clock = time.monotonic()
                trainer.seconds, save_now = agreed(before + clock - started, clock - saved > save_every)
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
        except KeyboardInterrupt:
            if sharded:  # the others may be anywhere: their shares cannot be asked for
                progress.console.print("interrupted: the same command goes on from the last save")
            else:
                progress.console.print("interrupted: saving; the same command goes on from here")
                trainer.save()
            return folder
        trainer.save()
        wait_for_all()  # nobody takes a run up before it is written
        if score and trainer.done() >= 1.0:
            trainer.write_scores(score)
    return folder


def _is_seen(cfg: TrainConfig) -> bool:
    """Whether a lesson has scenes, of which more can be asked than what to say."""
    families = {family for lesson, _ in cfg.curriculum for family in LESSONS.get(lesson, {})}
    return cfg.sight_weight > 0 and not families.isdisjoint(SEEING)


def _trained_vocoder(name: str, folder: Path, cfg: TrainConfig, device: str) -> Vocoder | None:
    """The reply voice's vocoder, trained first (resumable) unless this run has one or the preset asks for none."""
    width, depth = PRESETS[name].vocoder_width, PRESETS[name].vocoder_depth
    weights = folder / "vocoder.safetensors"
    if not weights.is_file() and cfg.vocoder_steps and join()[0] == 0:
        folder_for(folder)
        train_vocoder(
            cfg.vocoder_steps, out=weights, run=folder, seed=cfg.seed, width=width, depth=depth, device=device
        )
    return load_vocoder(weights, width, depth) if weights.is_file() else None


def _describe(row: dict[str, float]) -> str:
    return " ".join(f"{name} {row[name]:.3f}" for name in ("text", "flow", "listen"))


def folder_for(path: Path) -> Path:
    """Make sure the folder is there."""
    path.mkdir(parents=True, exist_ok=True)
    return path
