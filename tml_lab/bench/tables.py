"""The table of one benchmark as `tml bench` prints it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tml_lab.bench.benchmark import Benchmark


def in_brief(estimate: dict[str, Any]) -> str:
    """The value, and its interval on a line of its own, if it has a width: seven players fit into 80 columns."""
    if estimate["n"] == 0:
        return "–"
    if estimate["low"] == estimate["high"]:
        return f"{estimate['value']:.3f}"
    interval = re.sub(r"\b0\.", ".", f"{estimate['low']:.2f}–{estimate['high']:.2f}")
    return f"{estimate['value']:.3f}\n[dim]{interval}[/dim]"


def table(benchmark: Benchmark, rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each figure, over all families and then by family; a column for the model and each reference row."""
    title = f"{benchmark.title}, split {rows[0]['split']}, {rows[0]['items']} items"
    result = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    result.add_column("", overflow="fold")
    for row in rows:
        style = "bold" if row["row"] == "model" else ""
        name = re.sub(r"([-+])", r"\1\n", row["row"], count=1)
        result.add_column(name, justify="right", style=style, overflow="fold", min_width=8)
    names = sorted(rows[0]["metrics"], key=lambda name: ":" in name)  # stable: families stay in their order
    for i, name in enumerate(names):
        figure, _, family = name.partition(":")
        goal = benchmark.goals.get(name)
        label = f"{family}\n[dim]{figure}[/dim]" if family else f"{figure}\n{goal}" if goal else figure
        last = i + 1 == len(names) or (not family and ":" in names[i + 1])
        result.add_row(label, *(in_brief(row["metrics"][name]) for row in rows), end_section=last)
    return result


def caption_of(benchmark: Benchmark, seed: int, label: str) -> str:
    """Where the figures come from, and others' figures on the full-size originals."""
    lines = [f"seed {seed}; checkpoint {label}; value [95 % bootstrap interval]"]
    if benchmark.anchors:
        others = "; ".join(f"{who} {figure}" for who, figure in benchmark.anchors.items())
        lines.append(f"others, on the full-size original (not comparable): {others}")
    return "\n".join(lines)
