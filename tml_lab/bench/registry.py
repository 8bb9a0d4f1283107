"""Run benchmarks by name and print the model beside the four reference rows.

run(["cuespeak"], checkpoint="nano", n=50, seed=0, json_path="scores.json")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tml_lab.bench import (
    camera_on,
    charades,
    cuespeak,
    echo,
    fdb,
    fdb15,
    foreign,
    human_numbers,
    ifeval,
    late_chunks,
    long_memory,
    proactive,
    qivd,
    repcount,
    restraint,
    retention,
    safety,
    schedule,
    timespeak,
    tools,
)
from tml_lab.bench.baselines.oracle_late import OracleLatePlayer
from tml_lab.bench.baselines.silent import SilentPlayer
from tml_lab.bench.baselines.spam import SpamPlayer
from tml_lab.bench.baselines.vad_harness import VadHarnessPlayer
from tml_lab.bench.benchmark import Benchmark, Player
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.fdb_io import TASKS, write_folders
from tml_lab.bench.grading import Estimate
from tml_lab.bench.kept import KeptResult
from tml_lab.bench.machine import machine, now
from tml_lab.bench.report import MEDIA, Played, Report
from tml_lab.bench.runner import ModelPlayer
from tml_lab.bench.tables import caption_of, table
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.model.device import check_device

BENCHMARKS: dict[str, Benchmark] = {
    b.name: b
    for b in (
        timespeak.BENCHMARK,
        cuespeak.BENCHMARK,
        fdb.PAUSE,
        fdb.SMOOTH_TURN,
        fdb.INTERRUPTION,
        fdb.BACKCHANNEL,
        restraint.BENCHMARK,
        human_numbers.BENCHMARK,
        fdb15.BENCHMARK,
        foreign.BENCHMARK,
        schedule.BENCHMARK,
        retention.BENCHMARK,
        ifeval.BENCHMARK,
        safety.BENCHMARK,
        tools.BENCHMARK,
        repcount.BENCHMARK,
        repcount.CAPTURED,
        charades.BENCHMARK,
        proactive.BENCHMARK,
        qivd.BENCHMARK,
        camera_on.TIMESPEAK,
        camera_on.CUESPEAK,
        late_chunks.CUESPEAK,
        late_chunks.TIMESPEAK,
        echo.BENCHMARK,
        long_memory.LONG,
        long_memory.QUICK,
    )
}
GROUPS = {
    "fdb": ("fdb_pause", "fdb_smooth_turn", "fdb_interruption", "fdb_backchannel"),
    "further": ("foreign", "schedule", "retention", "ifeval", "safety", "tools"),
    "all": tuple(BENCHMARKS),
    "seen": ("repcount", "repcount_captured", "charades", "proactive", "qivd"),
    "camera": ("timespeak_camera", "cuespeak_camera"),
    "late": ("cuespeak_late", "timespeak_late"),
    "lasting": ("long", "long_quick"),
}
# What is run when nothing is named: what the shipped nano was trained for.
_LATER = ("echo", *(name for group in ("further", "seen", "camera", "late", "lasting") for name in GROUPS[group]))
USUAL = tuple(name for name in BENCHMARKS if name not in _LATER)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, goal: value >= goal,
    "<=": lambda value, goal: value <= goal,
}


def select(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks named (`USUAL` when none is); the names of `GROUPS` mean their parts.

    Raises ValueError listing the names there are.
    """
    wanted = [name for given in names or USUAL for name in GROUPS.get(given, (given,))]
    for name in wanted:
        if name not in BENCHMARKS:
            raise ValueError(
                f"no benchmark is called {name!r}; choose from {', '.join([*BENCHMARKS, *GROUPS])}."
            )
    return [BENCHMARKS[name] for name in dict.fromkeys(wanted)]


def planned(names: Sequence[str], splits: Sequence[str] | None = None) -> list[tuple[Benchmark, str]]:
    """The benchmarks named, each with its splits; `splits`: only these (None: each one's own).

    Raises ValueError for an unknown name or split, and where one that is named, or all of them, have no such split.
    """
    chosen, known = select(names), dict.fromkeys(s for b in BENCHMARKS.values() for s in b.splits)
    for split in splits or ():
        if split not in known:
            raise ValueError(f"no benchmark has a split {split!r}; choose from {', '.join(known)}.")
    for b in chosen:
        if splits and b.name in names and not set(splits) & set(b.splits):
            raise ValueError(f"{b.name} has no split {' or '.join(splits)}: choose from {', '.join(b.splits)}.")
    for split in splits or ():
        if not any(split in b.splits for b in chosen):
            having = ", ".join(b.name for b in BENCHMARKS.values() if split in b.splits)
            raise ValueError(f"none of the chosen benchmarks has a split {split}: name one that has, of {having}.")
    return [(b, s) for b in chosen for s in b.splits if not splits or s in splits]


def meets(estimate: Estimate, goal: str) -> bool:
    """Does the value meet a goal such as `>= 0.90`?"""
    sign, number = goal.split()
    return _COMPARE[sign](estimate.value, float(number))


def as_json(estimate: Estimate) -> dict[str, float | int | None]:
    """An estimate as JSON: null where nothing could be measured, because JSON has no NaN."""
    return {key: None if value != value else value for key, value in asdict(estimate).items()}


def play_benchmark(
    benchmark: Benchmark, players: Sequence[Player], n: int, seed: int, split: str,
    done: Callable[[], None] = lambda: None, keep: Callable[[Played], None] = lambda _: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Every player on the same items: one JSON-ready row each; `done` is called after each player, and `keep`."""
    episodes = benchmark.items(n, seed, split)
    rows: list[dict[str, Any]] = []
    first: list[Emissions] = []
    for player in players:
        began = time.perf_counter()
        logs = player.play(episodes)
        first = first or logs
        metrics = benchmark.measure(episodes, logs, seed)
        if benchmark.paired is not None:
            metrics |= benchmark.paired(episodes, logs, first, seed)
        rows.append(
            {
                "benchmark": benchmark.name,
                "split": split,
                "row": player.name,
                "items": len(episodes),
                "seconds": round(time.perf_counter() - began, 2),
                "metrics": {name: as_json(estimate) for name, estimate in metrics.items()},
                "goals_met": {
                    name: meets(metrics[name], goal)
                    for name, goal in benchmark.goals.items()
                    if name in metrics
                },
            }
        )
        keep(Played(benchmark, split, episodes, logs, rows[-1]["metrics"], player.name))
        done()
    return rows


def show(estimate: dict[str, Any]) -> str:
    """`0.93 [0.88, 0.97]`; a dash where there was nothing to measure."""
    if estimate["n"] == 0:
        return "–"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def reference_players(model: Any, tokenizer: Any, seed: int) -> list[Player]:
    """The four reference rows; the harness asks the given model."""
    return [SilentPlayer(), SpamPlayer(seed), VadHarnessPlayer(model, tokenizer), OracleLatePlayer()]


def run_players(
    players: Sequence[Player],
    names: Sequence[str] = (),
    n: int | None = 50,
    seed: int = 0,
    splits: Sequence[str] | None = None,
    label: str = "none",
    console: Console | None = None,
    instead: Callable[[Benchmark], Sequence[Player] | None] = lambda _: None,
    json_path: str | Path | None = None,
    afresh: bool = False,
    keep: Callable[[Played], None] = lambda _: None,
) -> dict[str, Any]:
    """Every benchmark named, every player: prints the tables and returns what `run` writes as JSON.

    `n`: items per family; None: as many as `Benchmark.full_size` says. `instead`: a benchmark's own players in the
    place of the last one, the model. `json_path`: written after every benchmark; what an interrupted run left there is
    taken up unless `afresh`. `keep`: is given what each player played. Raises ValueError as `planned` does.
    """
    chosen = planned(names, splits)
    console = console or Console()
    kept = KeptResult(
        json_path, {"date": now(), "machine": machine(), "checkpoint": label, "seed": seed, "n": n}, afresh
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("benchmarks", total=len(chosen) * len(players))
        for benchmark, split in chosen:
            progress.update(task, description=benchmark.title)
            own = instead(benchmark)
            lineup = players if own is None else own if benchmark.paired else [*players[:-1], *own]
            rows = kept.rows(benchmark.name, split, [player.name for player in lineup])
            if rows is None:
                size = benchmark.full_size(split) if n is None else n
                rows = play_benchmark(benchmark, lineup, size, seed, split, lambda: progress.advance(task), keep)
                kept.add(rows)
            else:
                progress.advance(task, len(rows))
            console.print(table(benchmark, rows), caption_of(benchmark, seed, label), sep="\n", highlight=False)
    return kept.finish()


def run(
    names: Sequence[str] = (),
    checkpoint: str | Path = "nano",
    n: int | None = 50,
    seed: int = 0,
    json_path: str | Path | None = None,
    splits: Sequence[str] | None = None,
    references: bool = True,
    console: Console | None = None,
    device: str = "cpu",
    report: str | Path | None = None,
    folders: str | Path | None = None,
    media: int = MEDIA,
) -> dict[str, Any]:
    """Load a checkpoint, run benchmarks, print tables, write JSON and pages.

    Args:
        names: benchmarks, or groups of them (`fdb`, `further`, `seen`, `camera`, `lasting`, `all`); empty for the
            usual ones.
        checkpoint: a shipped name or a folder.
        n: items per family; None: as many as make the interval of each headline figure at most 5 points wide to
            either side.
        seed: of the items, of the spam row and of the intervals; from 0 on.
        json_path: where to write the result, benchmark by benchmark; None writes nothing. A run that was interrupted
            goes on behind what is there, unless pages or folders are asked for.
        splits: `test`, `human`; None runs each benchmark's own.
        references: also play the four reference rows.
        console: where tables go.
        device: `cpu` or `cuda`.
        report: a folder for the pages on which each item can be seen, and heard; None writes none.
        folders: a folder for what was heard and said in Full-Duplex-Bench's scenes, in its own form; None writes none.
        media: of each family so many items with sound and pictures on the pages.

    Raises CheckpointError for a checkpoint that cannot be read, DeviceError for a device that is not there, OSError for
    a folder that cannot be written, ValueError for an unknown benchmark, or for a split or seed that there is not.
    """
    planned(names, splits)  # what cannot be done fails before anything is loaded
    check_device(device)
    if seed < 0:
        raise ValueError(f"the seed of the items is a whole number from 0 on, not {seed}.")
    model, tokenizer = load_checkpoint(checkpoint, device)
    label = f"{Path(str(checkpoint)).name} {checkpoint_hash(checkpoint)}"
    rivals: list[Player] = reference_players(model, tokenizer, seed) if references else []
    me = ModelPlayer(model, tokenizer, keep_voice=bool(report or folders))
    vocoder = deepcopy(model.vocoder).cpu() if report or folders else None
    pages = Report(Path(report), label, vocoder, media) if report is not None else None

    def keep(played: Played) -> None:
        if pages is not None and played.row not in {rival.name for rival in rivals}:
            pages.add(played)
        if folders is not None and played.row == me.name and played.benchmark.name in TASKS:
            write_folders(Path(folders), played.benchmark.name, played.episodes, played.logs, vocoder)

    result = run_players(
        [*rivals, me], names, n, seed, splits, label, console, lambda b: b.rows(model, tokenizer) if b.rows else None,
        json_path, afresh=bool(report or folders), keep=keep,
    )  # fmt: skip
    if pages is not None:
        (console or Console()).print(f"each item can be seen and heard from {pages.path} on")
    return result
