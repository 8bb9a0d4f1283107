"""A micro-turn now beside the same turn at an earlier revision of this repository, turn about, in one run.

    OMP_NUM_THREADS=1 python benchmarks/versus_revision.py 53d9621 --json FILE      53d9621: First light

Each revision runs in a process of its own, with its own code and its own shipped nano, from a temporary git worktree;
one of them computes while the other waits, so that a busy machine slows both. The turns are those of `turn_latency.py`,
which the earlier revision must have: silent and speaking, the decision imposed, with the camera on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tml_lab.bench.machine import machine, now

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("silent", "speaking")
WARM_UP = 20  # turns of each kind before anything is timed
WORKER = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
from turn_latency import TurnTimer, load
model, tokenizer, _ = load("nano")
timer = TurnTimer(model, tokenizer, 0, True)
print("ready", flush=True)
for line in sys.stdin:
    print(timer.turn(speak=line.strip() == "speaking")["total"], flush=True)
"""


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A checkout of `revision` in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "then"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", place, revision], check=True)
        try:
            yield place
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", place], check=True)


class Timed:
    """A revision's process: a turn at a time, when it is asked."""

    def __init__(self, place: Path, threads: int) -> None:
        paths = [place, place / "kernels", place / "widgets", place / "benchmarks"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=place, env=env,
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.asks, self.tells = self.process.stdin, self.process.stdout
        while (line := self.tells.readline()) and line != "ready\n":
            pass
        if not line:
            raise SystemExit(f"the revision in {place} does not run here: see what it printed above.")

    def turn(self, kind: str) -> float:
        """Seconds of one turn."""
        print(kind, file=self.asks, flush=True)
        return float(self.tells.readline())

    def close(self) -> None:
        """End the process."""
        self.asks.close()
        self.process.wait(30)


def main() -> None:
    """Run and print; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the earlier one, as git knows it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=150, help="turns of each kind")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {when: {kind: [] for kind in KINDS} for when in ("then", "now")}
    load = os.getloadavg()[0]
    with worktree(options.revision) as place:
        timed = {"then": Timed(place, options.threads), "now": Timed(ROOT, options.threads)}
        for n in track(range(WARM_UP + options.turns), "turn about"):
            for kind in KINDS:
                for when, process in timed.items():
                    seconds = process.turn(kind)
                    if n >= WARM_UP:
                        found[when][kind].append(seconds)
        for process in timed.values():
            process.close()
    table = Table("turn", "then ms", "now ms", "then / now, median of pairs")
    result = {"benchmark": "versus_revision", "revision": options.revision, "date": now(), "machine": machine()}
    result |= {"threads": options.threads, "load_average": round(load, 1), "turns": options.turns}
    for kind in KINDS:
        then, today = (1e3 * np.array(found[when][kind]) for when in ("then", "now"))  # [turns] ms
        row = {"then_ms": np.median(then), "now_ms": np.median(today), "ratio": np.median(then / today)}
        result[kind] = {name: round(float(value), 2) for name, value in row.items()}
        table.add_row(kind, *(f"{value:.2f}" for value in row.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
