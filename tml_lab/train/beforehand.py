"""What can be known to go wrong with a run, before hours are spent on rendering its episodes.

Nothing is written here, no folder made either: a run that is refused leaves nothing behind.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError

from tml_lab.config import TRAIN_PRESETS, ModelConfig, TrainConfig
from tml_lab.config import preset as preset_of
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.model.device import check_device
from tml_lab.train.grow import with_eyes_of
from tml_lab.train.heads import heads_of_run
from tml_lab.train.lessons import check_lessons
from tml_lab.train.sharded import ALONE
from tml_lab.train.vocoder import load_vocoder

STATE = "trainer.pt"  # of an interrupted run
VOCODER = Path("vocoder/vocoder.safetensors")  # in a run's folder


def checked_settings(
    preset: str,
    out: Path | str,
    *,
    cfg: TrainConfig | None = None,
    lesson: str | None = None,
    init: str | None = None,
    eyes: str | None = None,
    episodes: Path | str | None = None,
    device: str = "cpu",
    resume: bool = True,
    render: int = 0,
    seed: int = 0,
    sharded: bool = False,
    scored: bool = False,
    processes: int | None = None,
) -> TrainConfig:
    """The settings of a run that nothing known stands in the way of; its arguments are those of `train`.

    `scored`: scores are wanted while it goes on; `processes`: that are going to share the work, None: those that
    `torchrun` started. Checkpoints that it begins with are read once for it.

    Raises ValueError (CheckpointError among them), in one sentence, for a preset, lesson or device that there is not;
    for a checkpoint that is missing, damaged or does not fit; for a folder that cannot be written, or without episodes;
    for wishes that contradict each other.
    """
    if cfg is None:
        cfg = _settings_of(preset, init)
    cfg = replace(cfg, curriculum=((lesson, 1.0),)) if lesson else cfg
    if sharded and scored:
        raise ValueError("scores are taken by one process with whole weights: leave out score_every or sharded")
    if sharded and (processes or int(os.environ.get("WORLD_SIZE", "1"))) == 1:
        raise ValueError(ALONE)
    if eyes and not init:
        raise ValueError("eyes are lent to a trained model: name one with init, too")
    if seed < 0:
        raise ValueError(f"a seed is a whole number from 0 on, not {seed}")
    if not episodes:
        check_lessons(cfg.curriculum, render)
    elif not render and not any(Path(episodes).glob("*.safetensors")):
        raise ValueError(f"no training episodes in {episodes}: name a folder that holds some, or have them rendered")
    check_device(device)
    _check_weights(preset, Path(out), cfg, init, eyes, resume)
    _check_writable(Path(out))
    return cfg


def _settings_of(preset: str, init: str | None) -> TrainConfig:
    """The preset's own; those for going on where it begins with a checkpoint."""
    if preset not in TRAIN_PRESETS:
        raise ValueError(f"no preset {preset!r} can be trained; choose one of {', '.join(TRAIN_PRESETS)}")
    cfg = TRAIN_PRESETS[preset]
    return cfg.going_on() if init else cfg


def _check_weights(
    preset: str, folder: Path, cfg: TrainConfig, init: str | None, eyes: str | None, resume: bool
) -> None:
    """That what the run begins with can be read and fits: an interrupted run's state, or the checkpoints named."""
    sizes = preset_of(preset)
    if resume and (folder / STATE).is_file():
        _check_state(folder)
        _check_room_for_vocoder(folder, cfg, sizes, load_checkpoint(folder)[0].cfg, str(folder))
    elif init:
        model, _ = load_checkpoint(init)
        _check_room_for_vocoder(folder, cfg, sizes, model.cfg, init)
        if eyes:
            with_eyes_of(model, load_checkpoint(eyes)[0])
    _check_trained_vocoder(folder, sizes)


def _check_state(folder: Path) -> None:
    try:
        heads_of_run(folder)
    except (RuntimeError, OSError, EOFError, KeyError, pickle.UnpicklingError) as error:
        remedy = "begin anew with --no-resume, or in another --out folder"
        raise ValueError(f"the state of the run in {folder} is damaged: {remedy}") from error


def _check_trained_vocoder(folder: Path, sizes: ModelConfig) -> None:
    if (folder / VOCODER).is_file():
        try:
            load_vocoder(folder / VOCODER, sizes.vocoder_width, sizes.vocoder_depth)
        except (RuntimeError, SafetensorError) as error:
            why = f"the vocoder in {folder} is damaged, or of another preset than {sizes.name}"
            raise ValueError(f"{why}: name its own preset, or another --out folder") from error


def _check_room_for_vocoder(folder: Path, cfg: TrainConfig, wanted: ModelConfig, there: ModelConfig, of: str) -> None:
    """Where a run trains a vocoder, or has one, it is of the preset's size; the model must have room for it."""
    if not (cfg.vocoder_steps or (folder / VOCODER).is_file()):
        return
    if (wanted.vocoder_width, wanted.vocoder_depth) != (there.vocoder_width, there.vocoder_depth):
        raise ValueError(
            f"the model in {of} is a {there.name}, whose vocoder is of another size than that of the preset "
            f"{wanted.name}: name its own preset, or another --out folder"
        )


def _check_writable(folder: Path) -> None:
    """That the folder is there and can be written into, or could be made."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(20, "not a directory")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"cannot write into {folder} ({reason}): choose another --out folder.") from None
