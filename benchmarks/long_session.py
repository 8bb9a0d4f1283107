"""A session of hours: does memory, or the time that a turn takes, grow?

    OMP_NUM_THREADS=1 python benchmarks/long_session.py --hours 4 --json benchmarks/results/long_session_nano.json
    OMP_NUM_THREADS=1 python benchmarks/long_session.py --random pico --hours 4 --watch --json FILE

One session steps through hours of a quiet room, a second of noise in every ten. At checkpoints along the way: the
memory of the process, and the median and 99th percentile of a turn's time over the last ten minutes of it, as ratios to
the first ten. The process's own time is reported beside the wall clock's, for a machine that is shared. `--watch` pools
the attention of a head of the last global layer in every turn; `--policy compact` lets the listening head take notes.
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
from turn_latency import load

from tml_lab.bench.machine import machine, now
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.clock import TURNS_PER_SECOND
from tml_lab.stream.session import Session
from tml_lab.worlds.remembered import POLICIES, USUAL
from tml_lab.worlds.vocabulary import closed_world

TEN_MINUTES = 600 * TURNS_PER_SECOND
CHECKPOINTS = (10, 20, 30, 60, 90, 120, 180, 240)  # minutes; the last one is the end
TOLD = "repeat every number you hear"  # typed at first, so that there is something to remember


def resident() -> float:
    """Megabytes of memory that the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def sounds(seed: int) -> np.ndarray:
    """Ten seconds of a quiet room with a second of noise in it: f32 [50, 3200]."""
    room = np.zeros((10 * TURNS_PER_SECOND, TURN_SAMPLES), np.float32)
    room[:TURNS_PER_SECOND] = 0.01 * np.random.default_rng(seed).standard_normal((TURNS_PER_SECOND, TURN_SAMPLES))
    return room


def last_global(cfg: Any) -> int:
    """The layer whose head is watched: the last one that sees far."""
    return max(i for i, kind in enumerate(cfg.layer_types) if kind == "global")


def measure(model: Any, tokenizer: TextTokenizer, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The session, and a row for each checkpoint."""
    watched = (last_global(model.cfg), 0) if options.watch else None
    session = Session(model, tokenizer, attention=watched, policy=POLICIES[options.policy]())
    room = sounds(options.seed)
    wall, own = np.zeros(TEN_MINUTES), np.zeros(TEN_MINUTES)
    turns = round(options.hours * 3600 * TURNS_PER_SECOND)
    marks = {minutes * 60 * TURNS_PER_SECOND for minutes in CHECKPOINTS} | {turns}
    rows, spoke, before = [], 0, resident()
    for turn in range(turns):
        began, used = time.perf_counter(), time.process_time()
        result = session.step(room[turn % len(room)], text=TOLD if turn == 5 else None)
        wall[turn % TEN_MINUTES] = time.perf_counter() - began
        own[turn % TEN_MINUTES] = time.process_time() - used
        spoke += result.decision == "<speak>"
        if turn + 1 in marks:
            kept = min(turn + 1, TEN_MINUTES)
            rows.append(row(session, rows, wall[:kept], own[:kept], spoke))
            console.print(rows[-1])
    return {"memory_before_mb": round(before, 1), "turns": turns, "checkpoints": rows}


def row(session: Session, rows: list[dict[str, Any]], wall: np.ndarray, own: np.ndarray, spoke: int) -> dict[str, Any]:
    """One checkpoint; ratios to the first of them."""
    parts = [p for c in (session.tape.rows, session.tape.reel.heard) for p in c.parts]  # pyright: ignore
    here: dict[str, Any] = {
        "minutes": round(session.turn / TURNS_PER_SECOND / 60, 1),
        "memory_mb": round(resident(), 1),
        "median_ms": round(1e3 * float(np.median(wall)), 3),
        "p99_ms": round(1e3 * float(np.percentile(wall, 99)), 3),
        "median_own_ms": round(1e3 * float(np.median(own)), 3),
        "state_mb": round(sum(t.numel() * t.element_size() for t in session.state.values()) / 1e6, 2),
        "spilled": bool(parts),
        "notes": len(session.tape.notes),
        "spoke": spoke,
    }
    first = rows[0] if rows else here
    compared = ("memory_mb", "median_ms", "median_own_ms")
    return here | {f"{name}_ratio": round(here[name] / first[name], 4) for name in compared}


def show(result: dict[str, Any], console: Console) -> None:
    """The checkpoints as a table."""
    table = Table(title=f"{result['checkpoint']}, {result['policy']}, {result['threads']} thread", title_justify="left")
    names = ("minutes", "memory_mb", "memory_mb_ratio", "median_ms", "p99_ms", "median_ms_ratio", "median_own_ms_ratio")
    for name in names:
        table.add_column(name, justify="right")
    for line in result["checkpoints"]:
        table.add_row(*(str(line[name]) for name in names))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--random", help="a preset with random weights instead of a checkpoint")
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--policy", choices=list(POLICIES), default=USUAL)
    parser.add_argument("--watch", action="store_true", help="pool a head's attention in every turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.random:
        torch.manual_seed(options.seed)
        tokenizer = TextTokenizer.build(closed_world())
        model = new_model(options.random, tokenizer, seed=options.seed).eval()
        label = f"{options.random}, random weights"
    else:
        model, tokenizer, label = load(options.checkpoint)
    console = Console()
    result = {
        "benchmark": "long_session",
        "date": now(),
        "machine": machine(),
        "threads": options.threads,
        "load_average": round(os.getloadavg()[0], 1),
        "checkpoint": label,
        "policy": options.policy,
        "watch": options.watch,
        **measure(model, tokenizer, options, console),
    }
    show(result, console)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
