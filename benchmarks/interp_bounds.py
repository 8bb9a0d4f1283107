"""What looking inside costs: a minute with the camera on, its whole cache, attention by stream, a patching sweep.

    OMP_NUM_THREADS=2 python benchmarks/interp_bounds.py --threads 2 --json FILE

A session of the shipped nano hears noise and sees noise for `--seconds`; it decides for itself. Measured are the bytes
of the full cache (patterns are computed when asked for), the seconds of `attention_by("stream")` over all layers and
heads at every decision, and of a sweep of the residual stream, each layer by each of the last 50 turns; the same sweep
for a model of the nano's width with ten layers and random weights. Bounds: 300 MB, 2 s, 120 s.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from tml_lab.bench.machine import machine, now
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS, VIDEO_SIZE
from tml_lab.interp.attention import attention_by
from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.interp.patching import patch_turns
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Inputs, Recording
from tml_lab.stream.session import Session

BOUNDS = {"cache_mb": 300.0, "attention_by_s": 2.0, "sweep_s": 120.0}
SWEPT = 50  # turns


def minute(model: InteractionModel, tokenizer: TextTokenizer, seconds: float, seed: int) -> Recording:
    """A session with the camera on."""
    rng, session = np.random.default_rng(seed), Session(model, tokenizer)
    width, height = VIDEO_SIZE
    for _ in range(round(seconds / TURN_SECONDS)):
        audio = (10.0 ** rng.uniform(-3, -0.7) * rng.standard_normal(TURN_SAMPLES)).astype(np.float32)
        session.step(audio, rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8))
    return session.recording()


def other_ending(recording: Recording, seed: int) -> Recording:
    """The same with other sound in the turn `SWEPT` before the last; what was said is fed as it was said."""
    audio, turn = recording.inputs.audio.copy(), recording.turns - SWEPT
    noise = np.random.default_rng(seed).standard_normal(TURN_SAMPLES)
    audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES] = 0.3 * noise
    return replace(recording, inputs=Inputs(audio, recording.inputs.typed, recording.inputs.frames))


def timed(name: str, run: Callable[[], Any], into: dict[str, Any]) -> Any:
    """What it gives; notes the seconds it took, and the seconds of compute, all threads together: on a busy machine the
    former say little."""
    began, computed = time.perf_counter(), time.process_time()
    found = run()
    into[f"{name}_s"] = round(time.perf_counter() - began, 2)
    into[f"{name}_cpu_s"] = round(time.process_time() - computed, 2)
    print(f"{name}: {into[f'{name}_s']} s, {into[f'{name}_cpu_s']} s of compute", flush=True)
    return found


def bytes_of(cache: Cache) -> int:
    """Of all tensors of a cache, each piece of memory once."""
    storages = [x.untyped_storage() for x in (*cache.tensors.values(), cache.logits)]
    return sum({each.data_ptr(): each.nbytes() for each in storages}.values())


def measure(model: InteractionModel, tokenizer: TextTokenizer, recording: Recording, seed: int) -> dict[str, Any]:
    """All three figures for one model."""
    result: dict[str, Any] = {"layers": model.cfg.n_layers, "swept_turns": SWEPT}
    cache = timed("run_with_cache", lambda: run_with_cache(model, tokenizer, recording), result)
    result |= {"turns": cache.turns, "positions": len(cache.tokens), "cache_mb": round(bytes_of(cache) / 1e6, 1)}
    timed("attention_by", lambda: attention_by(cache, "stream"), result)
    corrupt = run_with_cache(model, tokenizer, other_ending(recording, seed))
    turns = range(cache.turns - SWEPT, cache.turns)
    timed("sweep", lambda: patch_turns(cache, corrupt, cache.turns - 1, turns=turns), result)
    return result


def ten_layers(nano: InteractionModel, tokenizer: TextTokenizer, seed: int) -> InteractionModel:
    """A model of the nano's width with ten layers: its own embeddings, random blocks that all give something."""
    torch.manual_seed(seed)
    model = InteractionModel(nano.cfg.with_(n_layers=10)).eval().requires_grad_(False)
    own = {name: x for name, x in nano.state_dict().items() if not name.startswith("backbone")}
    model.load_state_dict(own, strict=False)
    for weight in model.backbone.parameters():
        if weight.abs().max() == 0:
            weight.normal_(std=0.02)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    console = Console()
    model, tokenizer = load_checkpoint("nano")
    torch.set_num_threads(1)  # a session's small steps gain nothing by more
    recording = minute(model, tokenizer, args.seconds, args.seed)
    torch.set_num_threads(args.threads)
    load = round(os.getloadavg()[0], 1)
    result: dict[str, Any] = {
        "benchmark": "interp_bounds", "date": now(), "machine": machine(), "threads": args.threads,
        "load_average": load, "checkpoint": f"nano {checkpoint_hash('nano')}", "seconds": args.seconds,
        "seed": args.seed, "bounds": BOUNDS,     }  # fmt: skip
    result["nano"] = measure(model, tokenizer, recording, args.seed)
    console.print(result["nano"])
    deeper = ten_layers(model, tokenizer, args.seed)
    told = replace(recording, checkpoint={})  # what was said is another model's: only the time counts
    result["ten_layers"] = measure(deeper, tokenizer, told, args.seed)
    console.print(result["ten_layers"])
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
