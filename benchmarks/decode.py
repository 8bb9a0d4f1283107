"""How long a session's tokens take in the backbone on a CPU: the compiled kernels beside the torch code.

    OMP_NUM_THREADS=1 python benchmarks/decode.py --json FILE

One token (a word, a piece of the own voice), five (a turn of sound) and seventeen (sound and a camera picture), each
after a past of `--past` tokens; and one token of the flow head. Both paths take turns on the same weights, so that a
busy machine slows both; the result is the ratio of medians.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tml_lab.bench.machine import machine, now
from tml_lab.config import OUT_DIM
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.model.decode import compile_kernels
from tml_lab.model.state import MAX_CHUNK, clone_state, new_state

SIZES = (1, 5, 17)


def compare(first: Callable[[], object], second: Callable[[], object], repeats: int) -> dict[str, Any]:
    """Medians of both in milliseconds, run by turns, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, spent in zip((first, second), seconds, strict=True):
            began = time.perf_counter()
            run()
            spent.append(time.perf_counter() - began)
    kernels, plain = (1e3 * float(np.median(spent)) for spent in seconds)
    return {"kernels_ms": round(kernels, 3), "torch_ms": round(plain, 3), "ratio": round(kernels / plain, 3)}


@torch.no_grad()
def measure(past: int, repeats: int) -> dict[str, Any]:
    """All sizes on the shipped nano. Raises RuntimeError where the kernels do not run."""
    model = load_checkpoint("nano")[0]
    if not compile_kernels(model):
        raise RuntimeError("the compiled kernels do not run here: Numba is missing or the weights are not float32")
    backbone, head, d = model.backbone, model.flow, model.cfg.d_model
    state = new_state(model.cfg)
    for start in range(0, past, MAX_CHUNK):
        backbone(torch.randn(1, min(MAX_CHUNK, past - start), d), state)
    result: dict[str, Any] = {}
    for n in SIZES:
        x, states = torch.randn(1, n, d), {fused: clone_state(state) for fused in (True, False)}

        def step(fused: bool, x: torch.Tensor = x, states: dict = states) -> None:
            backbone.fused = fused
            backbone(x, states[fused])

        result[f"{n} tokens"] = compare(lambda f=step: f(True), lambda f=step: f(False), repeats)
    hidden, noise = torch.randn(1, d), torch.randn(1, OUT_DIM)

    def draw(fused: bool) -> None:
        head.fused = fused
        head.sample(hidden, noise, model.cfg.flow_steps)

    result["flow head"] = compare(lambda: draw(True), lambda: draw(False), repeats)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--past", type=int, default=600, help="tokens in the state")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    result = measure(options.past, options.repeats)
    table = Table(title=f"backbone and flow head on a CPU, {options.threads} thread(s)", title_justify="left")
    for column in ("", "kernels ms", "torch ms", "ratio"):
        table.add_column(column, justify="right")
    for name, row in result.items():
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("kernels_ms", "torch_ms", "ratio")))
    Console().print(table)
    if options.json:
        about = {"benchmark": "decode", "date": now(), "machine": machine(), "threads": options.threads}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(about | {"result": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
