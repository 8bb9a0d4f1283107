"""Checkpoints: `model.safetensors` + `config.json` + `tokenizer.json` in one folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tml_lab.config import ModelConfig, preset
from tml_lab.model.few_bits import pack, unpack
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"


class CheckpointError(ValueError):
    """A checkpoint that is missing, truncated or of another model; the message says what to do."""


def checkpoint_dir(name: str | Path) -> Path:
    """Where a checkpoint lives: a path as given, or a shipped name (`nano`) under `data/checkpoints/`.

    `TML_LAB_DATA` overrides the data folder.
    """
    if Path(name).is_dir():
        return Path(name)
    data = Path(os.environ.get("TML_LAB_DATA", Path(__file__).parents[2] / "data"))
    return data / "checkpoints" / str(name)


def find_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint that has all its files. Raises CheckpointError when one is missing."""
    folder = checkpoint_dir(name)
    for part in (WEIGHTS, CONFIG, TOKENIZER):
        if not (folder / part).is_file():
            raise CheckpointError(f"no {part} in {folder}: fetch the checkpoint again or train one with `tml train`")
    return folder


def new_model(name: str, tokenizer: TextTokenizer, seed: int = 0) -> InteractionModel:
    """A model of a preset with random weights from `seed`."""
    torch.manual_seed(seed)
    return InteractionModel(preset(name).with_(vocab_size=tokenizer.size))


def save_checkpoint(
    folder: Path,
    model: InteractionModel,
    tokenizer: TextTokenizer,
    notes: dict,
    packed: bool = False,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint; each file appears whole or not at all. `packed` stores the weights in few bits.

    `notes` (steps, minutes, seed, ...) go into `config.json` beside the sizes. `tensors`: the weights, where the model
    holds only a share of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in (tensors or model.state_dict()).items()}
    tensors = pack(tensors) if packed else tensors
    scratch = folder / (WEIGHTS + ".tmp")
    save_file(tensors, str(scratch))
    scratch.replace(folder / WEIGHTS)
    tokenizer.save(folder / TOKENIZER)
    scratch = folder / (CONFIG + ".tmp")
    scratch.write_text(json.dumps({"model": model.cfg.to_dict(), "notes": notes}, indent=1) + "\n")
    scratch.replace(folder / CONFIG)


def load_checkpoint(
    name: str | Path = "nano", device: torch.device | str = "cpu"
) -> tuple[InteractionModel, TextTokenizer]:
    """The model (float32, eval mode) and its tokenizer.

    Raises CheckpointError with one sentence when a file is missing, truncated or does not fit its config.
    """
    folder = find_checkpoint(name)
    try:
        cfg = ModelConfig.from_dict(json.loads((folder / CONFIG).read_text())["model"])
        tokenizer = TextTokenizer.load(folder / TOKENIZER)
        tensors = load_file(str(folder / WEIGHTS))
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint in {folder} cannot be read ({error}): fetch it again") from error
    model = InteractionModel(cfg)
    try:
        model.load_state_dict(unpack(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"the weights in {folder} do not fit their config.json ({first})") from error
    return model.to(device).eval().requires_grad_(False), tokenizer


def checkpoint_hash(name: str | Path = "nano") -> str:
    """The first 16 hex digits of the weights file's SHA-256."""
    digest = hashlib.sha256()
    with (checkpoint_dir(name) / WEIGHTS).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def read_notes(name: str | Path = "nano") -> dict:
    """The training notes kept in `config.json`."""
    return json.loads((checkpoint_dir(name) / CONFIG).read_text()).get("notes", {})
