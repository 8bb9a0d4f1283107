"""Getting to know one voice: a trained model, trained for some minutes more on scenes in which that person speaks.

    adapt("voices/me", "runs/me", minutes=8)

A small model that has heard few people hears a new one worse than those. Four minutes of their reading
(`tml_lab.worlds.reading`) are played in the scenes of the lesson, among the voices of training, so that what else the
model can do is practised, too. The last take of what was read twice is left out, for a test
(`tml_lab.bench.known_voice`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tml_lab.config import TRAIN_PRESETS, TrainConfig
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint, read_notes, save_checkpoint
from tml_lab.train.loop import train
from tml_lab.train.parallel import finish, join, start, wait_for_all
from tml_lab.train.shards import SHARD, ensure_episodes
from tml_lab.worlds.reading import NAME, open_voice, without_last_takes
from tml_lab.worlds.vocabulary import heard_world
from tml_lab.worlds.voices import Voice, VoiceBank, recorded_voice

SHARE = 0.75  # of the way from the weights before to those after: keeps more of the other voices
OFTEN = 3  # times as often as all the people of training together
EPISODES = 800
STEPS = 120  # at most; on two quiet cores about five minutes


def settings(cfg: TrainConfig) -> TrainConfig:
    """As a model is trained further, in few steps, with silence at its full weight and the camera mostly off."""
    return replace(cfg.going_on(), warmup=10, cooldown=0.9, silent_weight=1.0, flow_weight=0.1, camera_share=0.1)


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
    processes: int | None = None, steps: int = STEPS, episodes: int = EPISODES, device: str = "cpu",
) -> Path:  # fmt: skip
    """Train `init` to know a voice; returns `out`, the folder of a checkpoint in its shipped form.

    The run itself lies in `out/run` and goes on where it was stopped, unless the voice or `init` have changed
    meanwhile: then it begins anew. Its episodes are rendered first, in a minute or two. Stops after `minutes` of
    training or `steps`, whichever comes first, and slows down towards that.

    Args:
        voice: a folder that `tml_lab.worlds.reading` can open.
        init: the checkpoint to begin with, a name or a folder.
        processes: that share the work; by default one for each core, on a GPU one.
        episodes: scenes that are rendered.
        device: cpu or cuda.

    Raises:
        ReadingError: there is no voice in the folder.
        ValueError: `out/run` holds something else.
        RuntimeError: a process has failed: why.
    """
    open_voice(Path(voice))  # says what is wrong before anything is started
    preset = load_checkpoint(init)[0].cfg.name
    run = Path(out) / "run"
    _begin(run, Path(voice), init)
    n = processes or (1 if device.startswith("cuda") else os.cpu_count() or 1)
    command = ["-m", "tml_lab.train.adapt", preset, str(voice), str(run), "--minutes", str(minutes), "--init", init]
    command += ["--seed", str(seed), "--steps", str(steps), "--episodes", str(episodes), "--device", device]
    output = run / "output.log"
    with output.open("w", encoding="utf-8") as file, start(n, command, file) as started:
        try:
            _watch(started, run, minutes, steps, episodes)
        except BaseException:  # an interrupt above all: the run lies there, and goes on from its last save
            started.terminate()
            raise
    if started.returncode:
        raise RuntimeError(f"getting to know {voice} failed: {_what_went_wrong(output)} (all of it is in {output})")
    return meet(init, run, Path(out))


def meet(before: str, after: Path, out: Path, share: float = SHARE) -> Path:
    """A checkpoint, in its shipped form, of weights `share` of the way from those `before` to those `after`.

    What has been trained further forgets; on the way there lie weights that know the new and the old (Wortsman et al.
    2022, WiSE-FT).
    """
    model, tokenizer = load_checkpoint(after)
    start_from = load_checkpoint(before)[0].state_dict()
    for name, weight in model.state_dict().items():
        if weight.is_floating_point():
            known = weight.view(-1)[: start_from[name].numel()]  # new words are the last rows of their tables
            known.lerp_(start_from[name].view(-1), 1.0 - share)
    notes = {"from": checkpoint_hash(before), "share": share, "training": read_notes(after).get("train")}
    save_checkpoint(out, model, tokenizer, notes, packed=True)
    return out


def _begin(run: Path, voice: Path, init: str) -> None:
    """Make the run's folder; what lies there of another reading, or from other weights, is deleted."""
    reading = hashlib.sha256((voice / f"{NAME}.json").read_bytes() + (voice / f"{NAME}.flac").read_bytes())
    of = f"voice {reading.hexdigest()[:16]} from {checkpoint_hash(init)}\n"
    note = run / "of.txt"
    if run.is_dir() and any(run.iterdir()) and not note.is_file():
        raise ValueError(f"{run} is there already and holds something else: choose another folder for the checkpoint")
    if note.is_file() and note.read_text(encoding="utf-8") != of:
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    note.write_text(of, encoding="utf-8")


def _watch(started: subprocess.Popen[bytes], run: Path, minutes: float, steps: int, episodes: int) -> None:
    """Show how far the processes are until they have ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        rendered, trained = progress.add_task("scenes", total=1.0), progress.add_task("training", total=1.0)
        while started.poll() is None:
            files = len(list((run / "episodes").glob("*.safetensors")))
            progress.update(rendered, completed=files / -(-episodes // min(SHARD, episodes)))
            if row := _last_row(run / "log.jsonl"):
                progress.update(trained, completed=max(row["step"] / steps, row["seconds"] / (60 * minutes or 1)))
            with suppress(subprocess.TimeoutExpired):
                started.wait(0.5)


def _last_row(log: Path) -> dict[str, float] | None:
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    try:
        return json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:  # it is being written
        return None


def _what_went_wrong(output: Path) -> str:
    """The sentence of the first error in what the processes printed."""
    errors = re.findall(r"^(?:\[rank\d+\]: ?)?(\w*(?:Error|Exception): .+)$", output.read_text(errors="replace"), re.M)
    return errors[0] if errors else "without a word"


def run_one(
    preset: str,
    voice: Path,
    run: Path,
    minutes: Annotated[float, typer.Option()],
    init: Annotated[str, typer.Option()],
    seed: Annotated[int, typer.Option()],
    steps: Annotated[int, typer.Option()],
    episodes: Annotated[int, typer.Option()],
    device: Annotated[str, typer.Option()],
) -> None:
    """One of the processes."""
    if join()[0] == 0:
        ensure_episodes(run / "episodes", episodes, bank=partial(bank_of, voice))
    wait_for_all()
    cfg = settings(TRAIN_PRESETS.get(preset, TrainConfig()))
    train(preset, run, minutes, seed=seed, episodes=run / "episodes", steps=steps, init=init, save_every=30.0,
          cfg=cfg, words=heard_world(), device=device)  # fmt: skip
    finish()


if __name__ == "__main__":
    typer.run(run_one)
