"""What `deterministic=True` costs: the same turns and the same offline pass with the flag and without.

    OMP_NUM_THREADS=1 python benchmarks/deterministic.py --json FILE

Two sessions hear the same sound and see the same pictures, one turn each in turn, so that a busy machine slows both; a
ratio is taken of each pair, and the median of the ratios is reported. A session runs on the compiled kernels either
way: what the flag adds are the products outside the backbone (pictures, logits). The offline pass is another matter:
without the flag it is torch's, which may use all its tiles and threads.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from turn_latency import WARM_UP, TurnTimer, load

from tml_lab.bench.machine import machine, now


def paired(exact: Callable[[], object], fast: Callable[[], object], repeats: int) -> dict[str, Any]:
    """Median milliseconds of both, and the median of the ratios of neighbours; who goes first changes each time."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for n in range(repeats):
        for flag in (True, False) if n % 2 else (False, True):
            began = time.perf_counter()
            (exact if flag else fast)()
            seconds[flag].append(time.perf_counter() - began)
    ratios = np.array(seconds[True]) / np.array(seconds[False])
    low, high = np.percentile(medians(ratios), [2.5, 97.5])
    return {
        "deterministic_ms": round(1e3 * float(np.median(seconds[True])), 3),
        "fast_ms": round(1e3 * float(np.median(seconds[False])), 3),
        "ratio": round(float(np.median(ratios)), 4),
        "ratio_95": [round(float(low), 4), round(float(high), 4)],
        "n": repeats,
    }


def medians(ratios: np.ndarray, draws: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.median(ratios[rng.integers(0, len(ratios), (draws, len(ratios)))], axis=1)


def measure(model: Any, tokenizer: Any, turns: int, seed: int) -> dict[str, Any]:
    """Silent and speaking turns with camera, and an offline pass over 500 positions."""
    twin = copy.deepcopy(model)
    twin.deterministic = True
    exact, fast = (TurnTimer(m, tokenizer, seed, camera=True) for m in (twin, model))
    for n in range(WARM_UP):
        exact.turn(speak=n % 2 == 0)
        fast.turn(speak=n % 2 == 0)
    result = {
        "silent": paired(lambda: exact.turn(speak=False), lambda: fast.turn(speak=False), turns),
        "speaking": paired(lambda: exact.turn(speak=True), lambda: fast.turn(speak=True), turns),
    }
    x = torch.randn(1, 500, model.cfg.d_model, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        result["offline, 500 positions"] = paired(lambda: twin(x), lambda: model(x), max(5, turns // 10))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer, label = load(options.checkpoint)
    rows = measure(model, tokenizer, options.turns, options.seed)
    table = Table(title=f"deterministic beside fast, {options.threads} thread(s), {label}", title_justify="left")
    for column in ("", "deterministic ms", "fast ms", "ratio", "95 %", "n"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        cells = (row["deterministic_ms"], row["fast_ms"], row["ratio"], row["ratio_95"], row["n"])
        table.add_row(name, *(str(cell) for cell in cells))
    Console().print(table)
    if options.json:
        result = {
            "benchmark": "deterministic",
            "date": now(),
            "machine": machine(),
            "threads": options.threads,
            "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            "checkpoint": label,
            **rows,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
