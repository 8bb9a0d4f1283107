"""The shipped checkpoint's scores: `scores.json` beside the weights, and the table of its model card.

python -m tml_lab.bench.scoreboard --checkpoint nano --items 20
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tml_lab.bench.registry import BENCHMARKS, run, show
from tml_lab.model.checkpoint import checkpoint_dir

SCORES = "scores.json"
ROWS = ("model", "silent", "spam", "vad-harness", "oracle-late")


def scores_markdown(result: dict[str, Any]) -> str:
    """A result of `registry.run` as a Markdown table for the model card: goals first, then every family.

    Args:
        result: what `run` returned or wrote.

    Returns:
        Two tables (model and reference rows on the headline figures; the model by family) and their caption.
    """
    rows = result["results"]
    players = [name for name in ROWS if any(row["row"] == name for row in rows)]
    lines = [
        f"| benchmark | figure | goal | met | {' | '.join(players)} | items |",
        "|---|---|---|---|" + "---|" * (len(players) + 1),
    ]
    for benchmark, split in dict.fromkeys((row["benchmark"], row["split"]) for row in rows):
        if BENCHMARKS[benchmark].rows is not None:
            continue
        mine = {row["row"]: row for row in rows if (row["benchmark"], row["split"]) == (benchmark, split)}
        lines += _headlines(benchmark, split, mine, players)
    families = _families(rows)
    if families:
        lines += ["", "| model, by family | figure | value |", "|---|---|---|", *families]
    disturbed = _disturbed(rows)
    if disturbed:
        lines += ["", "| benchmark | disturbed by, or set to | figure | value | change, paired | items |"]
        lines += ["|---|---|---|---|---|---|", *disturbed]
    machine = result["machine"]
    lines += [
        "",
        f"Checkpoint {result['checkpoint']}; seed {result['seed']}; {result['n'] or 'the full number of'} items per "
        f"family; value [95 % bootstrap interval]; {result['date'][:10]}, {machine['cpu']}, {machine['cores']} cores.",
    ]
    return "\n".join(lines) + "\n"


def summary_markdown(result: dict[str, Any]) -> str:
    """The same result in one glance, for the README: the headline of each benchmark, beside what a harness reaches.

    Every line can be repeated: `tml bench NAME` prints it with its interval.
    """
    players = {"model": "nano", "vad-harness": "VAD harness", "silent": "never speaks", "spam": "always speaks"}
    lines = [f"| `tml bench` | figure | goal | {' | '.join(players.values())} |"]
    lines += ["|---|---|---|" + "---|" * len(players)]
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in result["results"]:
        if BENCHMARKS[row["benchmark"]].rows is None:
            rows.setdefault(row["benchmark"], {})[row["row"]] = row["metrics"]
    for name, mine in rows.items():
        known = BENCHMARKS[name]
        for figure in dict.fromkeys([known.headline, *known.goals]):
            cells = [_plain(mine[player][figure]) if player in mine else "" for player in players]
            lines.append(f"| {name} | {figure} | {known.goals.get(figure, '')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _plain(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.3f}" if estimate["n"] else "–"


def _headlines(
    benchmark: str, split: str, mine: dict[str, dict[str, Any]], players: Sequence[str]
) -> list[str]:
    """One line for the headline figure and each figure that has a goal."""
    known = BENCHMARKS[benchmark]
    lines = []
    for name in dict.fromkeys([known.headline, *known.goals]):
        goal = known.goals.get(name, "")
        met = mine["model"]["goals_met"].get(name) if "model" in mine else None
        verdict = "" if met is None else "yes" if met else "no"
        cells = [show(mine[player]["metrics"][name]) if player in mine else "" for player in players]
        items = next(iter(mine.values()))["items"]
        figures = " | ".join(cells)
        lines.append(f"| {known.title} ({split}) | {name} | {goal} | {verdict} | {figures} | {items} |")
    return lines


def _disturbed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The headline of the benchmarks that bring their own players: the same weights, disturbed or set otherwise."""
    lines = []
    for row in rows:
        known = BENCHMARKS[row["benchmark"]]
        if known.rows is None or row["row"] in ROWS:
            continue
        changed = next((name for name in row["metrics"] if name.endswith("_change")), None)
        paired = f"{changed.removesuffix('_change')}: {show(row['metrics'][changed])}" if changed else ""
        value = show(row["metrics"][known.headline])
        lines.append(f"| {known.title} | {row['row']} | {known.headline} | {value} | {paired} | {row['items']} |")
    return lines


def _families(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"| {name.partition(':')[2]} | {row['benchmark']} {name.partition(':')[0]} | {show(estimate)} |"
        for row in rows
        if row["row"] == "model"
        for name, estimate in row["metrics"].items()
        if ":" in name
    ]


def write_scores(
    checkpoint: str | Path = "nano",
    n: int = 20,
    seed: int = 0,
    names: Sequence[str] = (),
    references: bool = True,
) -> dict[str, Any]:
    """Run the benchmarks and write `scores.json` into the checkpoint's folder; returns the result."""
    path = checkpoint_dir(checkpoint) / SCORES
    return run(names, checkpoint, n, seed, path, references=references)


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="benchmarks; all of them when none is named")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--items", type=int, default=20, help="items per family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-references", action="store_true", help="play the model alone")
    parser.add_argument("--table", action="store_true", help="only print the table of the scores there are")
    parser.add_argument("--summary", action="store_true", help="the same in one glance, as in the README")
    options = parser.parse_args()
    if options.table or options.summary:
        result = json.loads((checkpoint_dir(options.checkpoint) / SCORES).read_text())
    else:
        result = write_scores(
            options.checkpoint, options.items, options.seed, options.names, not options.no_references
        )
    print((summary_markdown if options.summary else scores_markdown)(result))


if __name__ == "__main__":
    main()
