"""How long one micro-turn takes to compute: nano with camera, beside Moshi's `LMGen.step`.

    OMP_NUM_THREADS=1 python benchmarks/turn_latency.py --threads 1 --json FILE

Three kinds of turn: silent, speaking, and *conversation*, a recorded clip in which the model itself decides
when to speak. A turn is everything `Session.step` does with 0.2 s of sound and two 160x120 frames: mel,
patches, backbone, decision, and while speaking two words at most, four flow-head samples fed back, and the
vocoder. For the first two kinds decisions are imposed, so that they are timed whatever the weights. Rival and
model take turns, so that a busy machine slows both; every figure is wall-clock time of compute.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tml_lab.bench.machine import machine, now
from tml_lab.bench.runner import SteeredModel
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS, VIDEO_SIZE
from tml_lab.model.checkpoint import CheckpointError, checkpoint_hash, load_checkpoint, new_model
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.signal.audio import read_audio
from tml_lab.stream.session import Session
from tml_lab.worlds.humans import recordings_dir

WARM_UP = 20  # turns before anything is timed
CLIP = "repeat_numbers"  # of data/recordings/demo: five numbers in eleven seconds
OURS = ("silent", "speaking", "conversation")
Model = tuple[Any, TextTokenizer, str]


def load(checkpoint: str) -> Model:
    """The checkpoint, or its preset with random weights where there is none: time does not depend on
    weights."""
    try:
        model, tokenizer = load_checkpoint(checkpoint)
        return model, tokenizer, f"{checkpoint} {checkpoint_hash(checkpoint)}"
    except CheckpointError:
        from tml_lab.worlds.vocabulary import closed_world

        tokenizer = TextTokenizer.build(closed_world())
        return new_model(checkpoint, tokenizer).eval(), tokenizer, f"{checkpoint}, random weights"


class TurnTimer:
    """A session that hears noise, sees noise, and is told when to speak."""

    def __init__(self, model: Any, tokenizer: TextTokenizer, seed: int, camera: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.steered = SteeredModel(model, tokenizer)
        self.session = Session(self.steered, tokenizer)  # pyright: ignore[reportArgumentType]
        self.camera = camera

    def turn(self, speak: bool) -> dict[str, float]:
        """One turn; its timings in seconds, `total` among them."""
        audio = (0.05 * self.rng.standard_normal(TURN_SAMPLES)).astype(np.float32)
        width, height = VIDEO_SIZE
        frames = self.rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8) if self.camera else None
        self.steered.imposed = SPEAK if speak else SILENT
        return self.session.step(audio, frames).timings


class Conversation:
    """The model hears a recorded clip again and again, each time in a new session, and decides for itself."""

    def __init__(self, model: Any, tokenizer: TextTokenizer, camera: bool) -> None:
        self.model, self.tokenizer, self.camera = model, tokenizer, camera
        clip = recordings_dir() / "demo" / CLIP
        sound = read_audio(clip.with_suffix(".flac"))
        self.heard = sound[: len(sound) // TURN_SAMPLES * TURN_SAMPLES].reshape(-1, TURN_SAMPLES)
        about = json.loads(clip.with_suffix(".json").read_text())
        self.typed = {int(seconds / TURN_SECONDS): text for seconds, text in about["typed"]}
        self.session = Session(model, tokenizer)
        self.spoke = self.turns = 0

    def turn(self) -> float:
        """One turn; its seconds of compute."""
        if self.session.turn == len(self.heard):
            self.session = Session(self.model, self.tokenizer)
        turn = self.session.turn
        width, height = VIDEO_SIZE
        frames = np.full((2, height, width, 3), 90, np.uint8) if self.camera else None  # an empty grey room
        result = self.session.step(self.heard[turn], frames, self.typed.get(turn))
        self.turns += 1
        self.spoke += result.decision == SPEAK
        return result.timings["total"]


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile, mean and largest, in milliseconds."""
    values = 1e3 * np.asarray(seconds)
    return {
        "p50_ms": round(float(np.median(values)), 3),
        "p99_ms": round(float(np.percentile(values, 99)), 3),
        "mean_ms": round(float(values.mean()), 3),
        "max_ms": round(float(values.max()), 3),
        "n": len(values),
    }


def build_rival(active: int, text_card: int, batch: int = 1) -> Any | None:
    """Moshi at the same active size, or None (with one sentence printed) where it is not installed."""
    try:
        from moshi_step import build

        return build(active, text_card, batch=batch)
    except ImportError as error:
        print(f"going on without the rival: {error}")
        return None


def measure(model: Any, tokenizer: TextTokenizer, turns: int, seed: int, camera: bool) -> dict[str, Any]:
    """Time `turns` turns of each kind, and the rival's 400 ms beside each three."""
    from moshi_step import STEPS_PER_TURN

    active = model.count_parameters()["active"]
    rival = build_rival(active, tokenizer.size)
    timer = TurnTimer(model, tokenizer, seed, camera)
    for n in range(WARM_UP):
        timer.turn(speak=n % 2 == 0)
    for _ in range(WARM_UP if rival else 0):
        rival.step()  # pyright: ignore[reportOptionalMemberAccess]
    talk = Conversation(model, tokenizer, camera)
    kinds: dict[str, list[float]] = {"silent": [], "speaking": [], "conversation": [], "moshi_200ms": []}
    stages: dict[str, list[float]] = {}
    for _ in range(turns):
        kinds["silent"].append(timer.turn(speak=False)["total"])
        timings = timer.turn(speak=True)
        kinds["speaking"].append(timings["total"])
        for stage, spent in timings.items():
            stages.setdefault(stage, []).append(spent)
        kinds["conversation"].append(talk.turn())
        if rival is not None:
            began = time.perf_counter()
            for _ in range(int(2 * STEPS_PER_TURN)):  # five steps are 400 ms
                rival.step()
            kinds["moshi_200ms"].append((time.perf_counter() - began) / 2)
    result: dict[str, Any] = {kind: summary(values) for kind, values in kinds.items() if values}
    result["speaking_stages_median_ms"] = {
        stage: round(1e3 * float(np.median(spent)), 3) for stage, spent in stages.items()
    }
    result["conversation"]["share_speaking"] = round(talk.spoke / talk.turns, 3)
    result["parameters"] = model.count_parameters()
    if rival is not None:
        result["moshi"] = {"dim": rival.dim, "layers": rival.n_layers, "active_parameters": rival.active}
        for name, figure in (("ratio_of_medians", "p50_ms"), ("ratio_of_means", "mean_ms")):
            theirs = result["moshi_200ms"][figure]
            result[name] = {kind: round(result[kind][figure] / theirs, 3) for kind in OURS}
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """The result as a table."""
    medians, means = result.get("ratio_of_medians", {}), result.get("ratio_of_means", {})
    table = Table(
        title=f"one turn of 0.2 s, {result['threads']} thread(s), {result['checkpoint']}",
        title_justify="left",
    )
    for column in ("turn", "p50 ms", "p99 ms", "mean ms", "max ms", "n", "of Moshi's median", "of its mean"):
        table.add_column(column, justify="right")
    for kind in (*OURS, "moshi_200ms"):
        if kind in result:
            row = result[kind]
            cells = [f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms", "mean_ms", "max_ms")]
            shares = [f"{ratio[kind]:.2f}" if kind in ratio else "" for ratio in (medians, means)]
            table.add_row(kind, *cells, str(row["n"]), *shares)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", default="nano", help="shipped name or folder; random weights if missing"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads torch may use")
    parser.add_argument("--turns", type=int, default=150, help="turns of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-camera", action="store_true")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer, label = load(options.checkpoint)
    result = {
        "benchmark": "turn_latency",
        "date": now(),
        "machine": machine(),
        "threads": options.threads,
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,  # before the run
        "camera": not options.no_camera,
        "checkpoint": label,
        "seed": options.seed,
        **measure(model, tokenizer, options.turns, options.seed, not options.no_camera),
    }
    show(result, Console())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
