"""A class on one engine, in real time: seconds from a chunk's arrival to its reply, for more and more sessions.

    OMP_NUM_THREADS=1 python benchmarks/live_sessions.py --folder FOLDER --json benchmarks/results/live_sessions.json

Each session sends a chunk every 0.2 s, at a time of its own within the turn (`--at-once`: all at the same time), with a
160x120 camera (`--no-camera`: without), from a recorded clip, so that the model listens and speaks as it likes. With a
folder, every turn goes through the journal, and snapshots are written beside it. The number of sessions grows until the
99th percentile is over a turn. `missed` counts replies that came after their deadline, `shed` turns that lost their
pictures; a figure with pictures shed is not the camera's figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from turn_latency import CLIP, load, summary

from tml_lab.bench.machine import machine, now
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS, VIDEO_SIZE
from tml_lab.serve.contract import Append, BusyError, Reply
from tml_lab.serve.engine import Engine
from tml_lab.serve.limits import Limits
from tml_lab.signal.audio import read_audio
from tml_lab.worlds.humans import recordings_dir
from tml_lab.worlds.remembered import usual_policy

WARM = 10  # turns of each session that are not counted


def heard() -> np.ndarray:
    """The clip, in turns: f32 [turns, 3200]."""
    sound = read_audio((recordings_dir() / "demo" / CLIP).with_suffix(".flac"))
    return sound[: len(sound) // TURN_SAMPLES * TURN_SAMPLES].reshape(-1, TURN_SAMPLES)


def run_class(engine: Engine, sessions: int, turns: int, camera: bool, at_once: bool) -> dict[str, Any]:
    """So many sessions for so many turns; their latencies, and what went wrong."""
    opened = [engine.open(seed=n) for n in range(sessions)]
    clip, rng = heard(), np.random.default_rng(0)
    width, height = VIDEO_SIZE
    pixels = rng.integers(0, 256, (8, 2, height, width, 3), dtype=np.uint8)
    latencies: list[float] = []
    seqs, refused = [0] * sessions, 0
    begin = time.perf_counter() + 0.1
    before = engine.stats().since

    def note(future: Future[Reply], sent: float) -> None:
        if future.result().seq >= WARM:
            latencies.append(time.perf_counter() - sent)

    for n in range(turns):
        for who in range(sessions):
            due = begin + TURN_SECONDS * (n + (0.0 if at_once else who / sessions))
            time.sleep(max(0.0, due - time.perf_counter()))
            frames = pixels[(n + who) % len(pixels)] if camera else None
            chunk = Append(seqs[who], clip[(n + 11 * who) % len(clip)], frames)
            try:
                future = engine.append(opened[who].id, opened[who].writer, chunk)
            except BusyError:
                refused += 1
                continue
            future.add_done_callback(lambda done, sent=due: note(done, sent))
            seqs[who] += 1
    for who, each in enumerate(opened):
        engine.append(each.id, each.writer, Append(seqs[who] - 1, clip[0])).result(60)  # the last one's reply
    since = engine.stats().since
    for each in opened:
        engine.close(each.id, each.writer)
    took = sum(a - b for a, b in zip(since.step.counts, before.step.counts, strict=True))
    return {
        "sessions": sessions, **summary(latencies), "missed": since.missed - before.missed, "refused": refused,
        "shed": since.shed_pictures - before.shed_pictures,
        "turns_a_batch": round((since.turns - before.turns) / max(1, took), 2),
        "load": round((since.step.sum - before.step.sum) / (turns * TURN_SECONDS), 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--sessions", type=int, nargs="*", default=[1, 4, 8, 12, 16, 20, 24, 32])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1, help="that compute a batch")
    parser.add_argument("--folder", type=Path, help="keep the sessions there, each in a folder of its own")
    parser.add_argument("--no-camera", action="store_true")
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer, name = load(args.checkpoint)
    table = Table("sessions", "p50 ms", "p99 ms", "max ms", "missed", "shed", "turns a batch", "load", title=name)
    rows = []
    folder = args.folder and args.folder / "live_sessions"
    limits = Limits(threads=args.threads)
    with Engine(model, tokenizer, folder=folder, limits=limits, policy=usual_policy()) as engine:  # as `tml serve` does
        for sessions in args.sessions:
            row = run_class(engine, sessions, round(args.seconds / TURN_SECONDS), not args.no_camera, args.at_once)
            rows.append(row)
            shown = ("sessions", "p50_ms", "p99_ms", "max_ms", "missed", "shed", "turns_a_batch", "load")
            table.add_row(*(str(row[column]) for column in shown))
            if row["p99_ms"] > 1e3 * TURN_SECONDS:
                break
    if folder is not None:
        shutil.rmtree(folder)
    Console().print(table)
    how = {"camera": not args.no_camera, "at_once": args.at_once, "threads": args.threads, "journal": bool(folder)}
    if args.json:
        whole = {"model": name, **how, "rows": rows, "machine": machine(), "date": now()}
        args.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
