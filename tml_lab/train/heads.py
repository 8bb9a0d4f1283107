"""Which heads a run trains beside the model: what is asked of the eyes in the layers below, and of words ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn

from tml_lab.config import ModelConfig, TrainConfig
from tml_lab.train.ahead import AheadHead
from tml_lab.train.sight import SightHead
from tml_lab.worlds.curriculum import LESSONS
from tml_lab.worlds.episode import SEEING

HEADS: dict[str, Callable[[int, float], nn.Module]] = {"sight": SightHead, "ahead": AheadHead}


def weight_of(cfg: TrainConfig, name: str) -> float:
    """What a head's loss weighs."""
    return getattr(cfg, f"{name}_weight")


def heads_for(cfg: TrainConfig) -> tuple[str, ...]:
    """The heads of a new run: that of sight only where a lesson has scenes; none that weighs nothing."""
    families = {family for lesson, _ in cfg.curriculum for family in LESSONS.get(lesson, {})}
    scenes = not families.isdisjoint(SEEING)
    return tuple(name for name in HEADS if (scenes or name != "sight") and weight_of(cfg, name) > 0)


def new_heads(cfg: ModelConfig, names: Iterable[str], seed: int) -> nn.ModuleDict:
    """Those heads with fresh weights, the same for the same seed: all processes of a run start from one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.ModuleDict({name: HEADS[name](cfg.d_model, cfg.rms_eps) for name in names})


def heads_of_run(folder: Path) -> tuple[str, ...]:
    """The heads that an interrupted run has.

    Raises ValueError for a run that was begun by a version whose heads were asked for other things.
    """
    state = torch.load(folder / "trainer.pt", weights_only=True, mmap=True)
    remedy = f"{folder} was begun when other things were asked beside words: begin another one with --init {folder}"
    if "heads" not in state:
        raise ValueError(remedy)
    for name, weights in state["heads"].items():
        width = len(weights["norm.weight"])
        if name not in HEADS or len(HEADS[name](width, 0.0).proj.bias) != len(weights["proj.bias"]):  # type: ignore[arg-type]
            raise ValueError(remedy)
    return tuple(state["heads"])
