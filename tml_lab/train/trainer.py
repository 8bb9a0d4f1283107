"""What one training run holds, and one step of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tml_lab.config import TrainConfig
from tml_lab.model.checkpoint import save_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import SILENT, TextTokenizer
from tml_lab.train.as_shipped import as_shipped
from tml_lab.train.balance import balance
from tml_lab.train.feed import Batch, Feed
from tml_lab.train.heads import weight_of
from tml_lab.train.lessons import Lessons
from tml_lab.train.losses import losses
from tml_lab.train.optimizer import Muon, split_parameters
from tml_lab.train.parallel import average_gradients, join
from tml_lab.train.prefetch import Prefetch
from tml_lab.train.sharded import in_shares, is_sharded, whole

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
    heads: nn.ModuleDict = field(default_factory=nn.ModuleDict)  # that training alone needs, by what they are asked
    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        matrices, rest, fast, tables = split_parameters(self.model)
        self.muon = Muon([{"params": matrices}], self.cfg.lr_muon, weight_decay=self.cfg.weight_decay)  # maybe none
        groups = [
            {"params": [*rest, *self.heads.parameters()], "lr": self.cfg.lr_adamw, "base": self.cfg.lr_adamw},
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

    def onset_weight(self) -> float:
        """What the decision to begin weighs: more at first, for it is rare and found late; in the end no more."""
        return 1.0 + (self.cfg.onset_weight - 1.0) * self.cooldown()

    def weights(self) -> dict[str, float]:
        """What each loss weighs in their sum; a head's own one rises while the rate does.

        A new head errs much, and what the layers below have learned should not be shaken by that. The head itself
        learns at full speed: AdamW does not mind how large a gradient is.
        """
        own = {"text": 1.0, "flow": self.cfg.flow_weight, "listen": self.cfg.listen_weight}
        risen = min((self.step + 1) / self.cfg.warmup, 1.0)
        return own | {name: risen * weight_of(self.cfg, name) for name in self.heads}

    def parameters(self) -> list[nn.Parameter]:
        """Those of the model that learn, and those of the heads that only training needs."""
        return [*(p for p in self.model.parameters() if p.requires_grad), *self.heads.parameters()]

    def batches(self) -> Iterator[Batch]:
        """The feed's batches, lesson after lesson."""
        batches = iter(self.feed)
        while True:
            due = [folder for folder, until in self.lessons if self.done() < until]
            self.feed.folder = (due or [self.lessons[-1][0]])[0]
            yield next(batches)

    def one_step(self, batch: Batch) -> dict[str, float]:
        """Forward, backward, update, balance; returns the scalars to log."""
        device = next(self.model.parameters()).device
        batch = batch.to(device)
        cfg = replace(self.cfg, silent_weight=self.silent_weight(), onset_weight=self.onset_weight())
        with as_shipped(self.model) if self.done() >= self.cfg.as_shipped_from else nullcontext():
            with torch.autocast(device.type, torch.bfloat16):
                parts = losses(self.model, batch, self.silent, cfg, self.generator, self.heads)
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
        """Nudge each router's bias towards even load, where routers learn."""
        if not self.cfg.only:
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
            "heads": {name: head.state_dict() for name, head in self.heads.items()},
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
        for name, head in self.heads.items():
            head.load_state_dict(state["heads"][name])
        self.feed.skip(self.step)  # other batches than the ones seen before the stop
