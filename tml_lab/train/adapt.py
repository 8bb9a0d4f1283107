"""Getting to know one voice: a trained model, trained for some minutes more on scenes in which that person speaks.

    adapt("voices/me", "runs/me", minutes=8)

A small model that has heard few people hears a new one worse than those. Four minutes of their reading
(`tml_lab.worlds.reading`) are played in the scenes of the lesson, among the voices of training, so that what else the
model can do is practised, too. The last take of what was read twice is left out, for a test
(`tml_lab.bench.known_voice`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer

from tml_lab.config import TRAIN_PRESETS, TrainConfig
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.train.loop import train
from tml_lab.train.parallel import join, launch, wait_for_all
from tml_lab.train.shards import ensure_episodes
from tml_lab.train.ship import ship
from tml_lab.worlds.reading import open_voice, without_last_takes
from tml_lab.worlds.voices import Voice, VoiceBank, recorded_voice

OFTEN = 3  # times as often as all the people of training together
EPISODES = 800
STEPS = 160  # at most; on two cores about eight minutes


def settings(cfg: TrainConfig) -> TrainConfig:
    """Half of the rates at which a model is trained further, so that little is forgotten; no vocoder."""
    cfg = cfg.going_on()
    return replace(
        cfg, lr_muon=0.5 * cfg.lr_muon, lr_adamw=0.5 * cfg.lr_adamw, lr_tables=0.5 * cfg.lr_tables,
        lr_fast=0.5 * cfg.lr_fast, warmup=10, cooldown=0.9, silent_weight=1.0, flow_weight=0.1, camera_share=0.1,
        as_shipped_from=0.5, n_episodes=EPISODES,
    )  # fmt: skip


def bank_with(person: Voice, rest: VoiceBank) -> VoiceBank:
    """The bank, and somebody to get to know, who says most of what people say, and asks what they have recorded."""
    others = [voice for voice in rest.voices if voice.kind == "human"]
    return VoiceBank(rest.split, [*rest.voices, *[person] * (OFTEN * max(1, len(others)))], rest.missing, person)


@cache
def bank_of(voice: Path) -> VoiceBank:
    """The voices of training, and whoever read themselves into the folder `voice`."""
    return bank_with(recorded_voice(without_last_takes(open_voice(voice))), VoiceBank.open("train", quiet=True))


def adapt(
    voice: Path | str, out: Path | str, minutes: float = 8.0, init: str = "nano", seed: int = 0,
    processes: int | None = None, steps: int = STEPS,
) -> Path:  # fmt: skip
    """Train `init` to know a voice; returns `out`, the folder of a checkpoint in its shipped form.

    The run itself lies in `out/run` and goes on where it was stopped; its episodes are rendered first, in a minute or
    two. Stops after `minutes` of training or `steps`, whichever comes first, and slows down towards that.

    Args:
        voice: a folder that `tml_lab.worlds.reading` can open.
        init: the checkpoint to begin with, a name or a folder.
        processes: that share the work; by default one for each core.

    Raises:
        ReadingError: there is no voice in the folder.
        RuntimeError: a process has failed; it has said why.
    """
    open_voice(Path(voice))  # says what is wrong before anything is started
    preset = load_checkpoint(init)[0].cfg.name
    run = Path(out) / "run"
    n = processes if processes is not None else os.cpu_count() or 1
    command = ["-m", "tml_lab.train.adapt", preset, str(voice), str(run), "--minutes", str(minutes), "--init", init]
    code = launch(n, [*command, "--seed", str(seed), "--steps", str(steps)])
    if code:
        raise RuntimeError(f"getting to know {voice} ended with code {code}; what went wrong stands above")
    return ship(run, Path(out))


def run_one(
    preset: str,
    voice: Path,
    run: Path,
    minutes: Annotated[float, typer.Option()],
    init: Annotated[str, typer.Option()],
    seed: Annotated[int, typer.Option()],
    steps: Annotated[int, typer.Option()],
) -> None:
    """One of the processes."""
    episodes = run / "episodes"
    cfg = settings(TRAIN_PRESETS.get(preset, TrainConfig()))
    if join()[0] == 0:
        ensure_episodes(episodes, cfg.n_episodes, bank=partial(bank_of, voice))
    wait_for_all()
    train(preset, run, minutes, seed=seed, episodes=episodes, steps=steps, init=init, cfg=cfg)


if __name__ == "__main__":
    typer.run(run_one)
