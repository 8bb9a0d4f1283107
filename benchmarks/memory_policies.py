"""Which policy of memory people's sessions get: chosen on training voices.

    OMP_NUM_THREADS=1 python benchmarks/memory_policies.py --json benchmarks/results/memory_policies.json

Sessions of `tml_lab.bench.long_memory` in voices of the split `train`, each lived through by every policy: in one
family an instruction is given (`standing`), in the other a name (`name`; a new reminder, `remind`, is asked for there,
too). Then come silence, a quiet room, the user's small talk or talk in the background, and a fork is asked after 1, 5
and 15 minutes. Training seeds its generators with a checksum and a number, these sessions with a number and the family:
they never meet. A few further sessions of `name` are asked after 15 and 60 minutes; the choice does not look at them.

The rule, written down before anything was measured. Each session's value is the share of its answers that were right,
a figure the mean over the families of the mean over their sessions. A policy that begins to speak unasked more often
than `sinks+window` by more than .1 a minute, in silence or in a quiet room, cannot be chosen; of the others the one
with most `right` is. On a tie (to three places) the first in `SIMPLEST_FIRST`.

Added when half of it was measured: `quiet`, many short sessions of `name` in silence or a quiet room, whose starts
count beside those of `name`. Whether a name that is typed again makes the model speak turned out to hang on the name,
and the three long sessions in a quiet room had two names between them. `chosen_without_quiet` is the choice without.

Intervals are bootstrapped over sessions, changes over the same sessions under `sinks+window`. A run that was cut short
goes on behind the sessions that are in its file.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import Estimate, bootstrap, grade_item
from tml_lab.bench.items import SEEDS_PER_RUN
from tml_lab.bench.kept import KeptResult
from tml_lab.bench.long_memory import LongEmissions, LongEpisode, PolicyPlayer, asked_at, policies
from tml_lab.bench.machine import machine, now
from tml_lab.bench.registry import as_json, show
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.worlds.remembered import POLICIES, USUAL
from tml_lab.worlds.voices import VoiceBank

MINUTES = {"standing": (1, 5, 15), "name": (1, 5, 15), "quiet": (2,), "later": (15, 60)}
FILLS = ("silence", "room", "small talk", "background")  # session by session in turn
QUIET = FILLS[:2]
BASE = "sinks+window"
SIMPLEST_FIRST = (BASE, "window", "instructions", "compact")
MORE_STARTS = 0.1  # a minute: so many more than `BASE` has in a quiet fill rule a policy out
ASKED = {"standing": ("standing",), "name": ("name", "remind"), "quiet": ("name",), "later": ("name", "remind")}
FIRST = {"standing": 0, "name": 0, "quiet": SEEDS_PER_RUN // 4, "later": SEEDS_PER_RUN // 2}  # number of its sessions

Groups = dict[str, dict[str, float]]  # family -> session -> value


@dataclass(frozen=True)
class Life:
    """One session: what is told (a key of `ASKED`), and the number of it, which says how its time passes."""

    told: str
    index: int

    @property
    def name(self) -> str:
        """As the file calls it."""
        return f"{self.told} {self.index}"

    @property
    def fill(self) -> str:
        """What is heard in between."""
        fills = QUIET if self.told == "quiet" else FILLS
        return fills[self.index % len(fills)]

    def items(self, seed: int, bank: VoiceBank) -> list[LongEpisode]:
        """What it is asked, and when."""
        drawn = seed * SEEDS_PER_RUN + FIRST[self.told] + self.index
        return [
            item for family in ASKED[self.told]
            for item in asked_at(family, drawn, bank, MINUTES[self.told], self.fill)
        ]  # fmt: skip


def lives(standing: int, name: int, quiet: int, later: int) -> list[Life]:
    """All sessions: families turn about, so that a run that is cut short has some of each; the longest ones last."""
    counts = {"standing": standing, "name": name}
    mixed = [Life(told, i) for i in range(max(standing, name)) for told, n in counts.items() if i < n]
    return [*mixed, *(Life("quiet", i) for i in range(quiet)), *(Life("later", i) for i in range(later))]


def row(life: Life, policy: str, items: Sequence[LongEpisode], logs: Sequence[Emissions]) -> dict[str, Any]:
    """What became of a session under a policy: shares of right answers by `family@minutes`, starts up to then."""
    right = {
        item.family: round(grade_item(item.expects, log.spoken()).met, 4) for item, log in zip(items, logs, strict=True)
    }
    unasked = {
        item.family.partition("@")[2]: log.unasked
        for item, log in zip(items, logs, strict=True)
        if isinstance(log, LongEmissions)
    }
    return {
        "benchmark": life.name, "split": items[0].split, "row": policy, "told": life.told, "fill": life.fill,
        "seed": items[0].seed, "right": right, "unasked": unasked,
    }  # fmt: skip


def groups(rows: Sequence[Mapping[str, Any]]) -> dict[str, Groups]:
    """One policy's figures: each a value for each session of each family.

    `right`, `right@15` (after so many minutes), `right/room` (in that fill), `right:name`, `right:name@15`,
    `right:name/room`; `unasked`, `unasked/room`, `unasked:name/room`: starts to speak in a minute while nothing is
    asked, sessions of `quiet` among those of `name`.
    """
    found: dict[str, Groups] = defaultdict(lambda: defaultdict(dict))
    for one in rows:
        session, fill = one["benchmark"], one["fill"]
        shares: dict[str, dict[str, float]] = defaultdict(dict)
        for asked, share in one["right"].items():
            family, _, minutes = asked.partition("@")
            shares[family][minutes] = share
        for family, by_minutes in shares.items() if one["told"] != "quiet" else ():
            for minutes, share in by_minutes.items():
                for figure in (f"right@{minutes}", f"right:{family}@{minutes}"):
                    found[figure][family][session] = share
            mean = sum(by_minutes.values()) / len(by_minutes)
            for figure in ("right", f"right/{fill}", f"right:{family}", f"right:{family}/{fill}"):
                found[figure][family][session] = mean
        last = max(one["unasked"], key=float)
        told = "name" if one["told"] == "quiet" else one["told"]
        for figure in ("unasked", f"unasked/{fill}", f"unasked:{told}/{fill}"):
            found[figure][told][session] = one["unasked"][last] / float(last)
    return found


def estimate(values: Groups, seed: int, base: Groups | None = None) -> Estimate:
    """The mean over families of the mean over sessions; with `base`, of its change from there."""
    return bootstrap(
        {
            family: [value - (base[family][session] if base else 0.0) for session, value in sessions.items()]
            for family, sessions in values.items()
        },
        seed,
    )


def summary(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """For each policy its figures, and their changes from `BASE`."""
    by_policy = {name: groups([one for one in rows if one["row"] == name]) for name in POLICIES}
    return {
        name: {
            "figures": {figure: as_json(estimate(values, seed)) for figure, values in figures.items()},
            "changes": {
                figure: as_json(estimate(values, seed, by_policy[BASE][figure])) for figure, values in figures.items()
            },
        }
        for name, figures in by_policy.items()
    }


def choose(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The policy that the rule names, of `{policy: {figure: value}}`."""

    def fit(name: str) -> bool:
        more = (figures[name][f"unasked/{fill}"] - figures[BASE][f"unasked/{fill}"] for fill in QUIET)
        return all(round(each, 6) <= MORE_STARTS for each in more)

    return max((name for name in SIMPLEST_FIRST if fit(name)), key=lambda name: round(figures[name]["right"], 3))


def chosen_of(found: Mapping[str, Any]) -> str:
    """The rule on a summary."""
    return choose({name: {f: e["value"] for f, e in one["figures"].items()} for name, one in found.items()})


def table(title: str, found: Mapping[str, Any], kind: str) -> Table:
    """A line for each figure, a column for each policy."""
    result = Table(title=title, title_justify="left")
    result.add_column("")
    for name in found:
        result.add_column(name, justify="right")
    for figure in sorted(found[BASE][kind]):
        result.add_row(figure, *(show(found[name][kind][figure]) for name in found))
    return result


def conclude(rows: Sequence[Mapping[str, Any]], seed: int, console: Console) -> dict[str, Any]:
    """The summary, the choice, and what came later; printed, too."""
    main = summary([one for one in rows if one["told"] != "later"], seed)
    before = summary([one for one in rows if one["told"] in ("standing", "name")], seed)
    console.print(table("right, and starts a minute", main, "figures"), table(f"change from {BASE}", main, "changes"))
    result: dict[str, Any] = {
        "chosen": chosen_of(main), "chosen_without_quiet": chosen_of(before), "usual": USUAL, "policies": main
    }  # fmt: skip
    late = [one for one in rows if one["told"] == "later"]
    if late:
        result["later"] = summary(late, seed)
        console.print(table("after an hour", result["later"], "figures"))
    for key in ("chosen", "chosen_without_quiet", "usual"):
        console.print(f"{key}: {result[key]}")
    return result


def play(players: Sequence[PolicyPlayer], life: Life, seed: int, bank: VoiceBank) -> list[dict[str, Any]]:
    """One session under every policy."""
    items = life.items(seed, bank)
    return [row(life, player.name, items, player.play(items)) for player in players]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--standing", type=int, default=12, help="sessions in which an instruction is given")
    parser.add_argument("--name", type=int, default=12, help="sessions in which a name is told")
    parser.add_argument("--quiet", type=int, default=32, help="short ones of those, in silence or a quiet room")
    parser.add_argument("--later", type=int, default=1, help="further ones, asked after an hour, too")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if min(options.standing, options.name) < len(FILLS):
        parser.error(f"at least {len(FILLS)} sessions of each family are needed: one in each fill")
    torch.set_num_threads(1)
    model, tokenizer = load_checkpoint(options.checkpoint)
    bank, console = VoiceBank.open("train", quiet=True), Console()
    if bank.missing:
        parser.error(f"other voices would be drawn without {'; '.join(bank.missing)}: install it")
    kept = KeptResult(
        options.json,
        {
            "script": "memory_policies", "date": now(), "machine": machine(),
            "checkpoint": f"{options.checkpoint} {checkpoint_hash(options.checkpoint)}", "seed": options.seed,
            "n": [options.standing, options.name, options.quiet, options.later],
            "voices": sorted({voice.engine for voice in bank.voices}),
        },
    )  # fmt: skip
    players = policies(model, tokenizer)
    for life in lives(options.standing, options.name, options.quiet, options.later):
        if kept.rows(life.name, "train", [player.name for player in players]) is None:
            kept.add(play(players, life, options.seed, bank))
            console.print(now(), life.name, life.fill, highlight=False)
    kept.result |= conclude(kept.result["results"], options.seed, console)
    kept.finish()


if __name__ == "__main__":
    main()
