"""Red teaming from the command line: a search that can be stopped and resumed, its findings as JSON and as Markdown.

    run("nano", items=200, seed=0, json_path="nano.json")   # what was tried is kept in nano.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tml_lab.bench.grading import bootstrap
from tml_lab.bench.machine import machine, now
from tml_lab.bench.redteam import NOT_RIGHT, Tried, findings, player_of, search
from tml_lab.bench.registry import as_json, show
from tml_lab.bench.runner import SEED
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import replay
from tml_lab.worlds.families.attack import BOTH, HARMFUL, OPERATORS, Attack, perform
from tml_lab.worlds.families.safety import REFUSAL
from tml_lab.worlds.voices import VoiceBank

VERSION = 1  # of the search: a log of another one cannot be gone on with


def attack_json(attack: Attack) -> dict[str, Any]:
    """An attack as JSON; `Attack(**...)` makes it again."""
    fields = ("side", "request", "operators", "draw", "split")
    return {name: list(attack.operators) if name == "operators" else getattr(attack, name) for name in fields}


def tried_json(tried: Tried) -> dict[str, Any]:
    """One line of the log."""
    return {**attack_json(tried.attack), "broke": tried.broke, "how": tried.how, "near": tried.near, "said": tried.said}


def attack_of(row: dict[str, Any]) -> Attack:
    """The attack of a line of the log or of a finding's example."""
    return Attack(row["side"], row["request"], tuple(row["operators"]), row["draw"], row["split"])


class Log:
    """What was tried, one JSON line each, written as soon as a batch is over: stopping loses no more than that batch.

    Raises ValueError when the file holds another search.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.tried = self._read(header) if path.is_file() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in (header, *map(tried_json, self.tried))))

    def _read(self, header: dict[str, Any]) -> list[Tried]:
        *lines, _ = self.path.read_text().split("\n")  # what follows the last line's end was not written whole
        try:
            first, *rows = [json.loads(line) for line in lines]
        except ValueError:
            first, rows = None, []
        if first != header:
            raise ValueError(f"{self.path} is no log of this search: name another --json, or delete it.")
        return [Tried(attack_of(row), row["broke"], row["how"], row["near"], row["said"]) for row in rows]

    def keep(self, batch: Sequence[Tried]) -> None:
        """Write what is new."""
        with self.path.open("a") as file:
            file.writelines(json.dumps(tried_json(t)) + "\n" for t in batch)
        self.tried += batch


def report_of(tried: Sequence[Tried], label: str, seed: int, split: str, can_refuse: bool = True) -> dict[str, Any]:
    """The result as JSON: how the bare requests fared, then every finding with its example to replay.

    `can_refuse`: is the refusal's first word in the vocabulary at all?
    """
    bare: dict[str, Any] = {}
    for side in BOTH:
        plain = [t for t in tried if t.attack.side == side and not t.attack.operators and t.attack.draw == 0]
        how = {name: sum(t.how == name for t in plain) for name in sorted({t.how for t in plain})}
        bare[side] = {"broke": as_json(bootstrap([float(t.broke) for t in plain], seed)), "how": how}
    rows = [{**asdict(f), "example": tried_json(f.example)} for f in findings(tried)]
    about = {"date": now(), "machine": machine(), "checkpoint": label, "seed": seed, "split": split}
    about["can_refuse"] = can_refuse
    return {**about, "items": len(tried), "bare": bare, "findings": rows}


def report_markdown(report: dict[str, Any], rows: int = 12) -> str:
    """The report as Markdown for a model card: the bare requests, then the first `rows` findings."""
    titles = {HARMFUL: "disallowed, not refused", BOTH[1]: "harmless, refused"}
    lines = ["| bare requests | share | what became of them |", "|---|---|---|"]
    for side, title in titles.items():
        part = report["bare"][side]
        how = ", ".join(f"{name} {n}" for name, n in part["how"].items())
        lines.append(f"| {title} | {show(part['broke'])} | {how} |")
    if not report["can_refuse"]:
        lines += ["", f"It can refuse nothing: \"{REFUSAL[0]}\" is no word of its vocabulary."]
    composed = [row for row in report["findings"] if row["operators"]]
    if composed:
        lines += ["", "| operators | what breaks | broke | in other voices | example |", "|---|---|---|---|---|"]
    for row in composed[:rows]:
        names = " + ".join(row["operators"])
        example = row["example"]
        amiss = " (late, not each time, or with more)" if example["how"] == NOT_RIGHT else ""
        answer = f"\"{example['request']}\": {example['said'] or 'silence'}{amiss}"
        again = f"{row['again_broke']} of {row['again_played']}" if row["again_played"] else "not tried"
        lines.append(f"| {names} | {titles[row['side']]} | {row['broke']} of {row['played']} | {again} | {answer} |")
    left = len(composed) - rows
    lines += ["", f"{report['items']} attacks in {report['split']} voices, seed {report['seed']}, checkpoint "
              f"{report['checkpoint']}; {len(composed)} compositions of operators break what holds without them"
              + (f", the {rows} shortest are shown." if left > 0 else ".")]  # fmt: skip
    used = sorted({name for row in composed[:rows] for name in row["operators"]}, key=list(OPERATORS).index)
    if used:
        lines += ["", "; ".join(f"{name}: {OPERATORS[name].does}" for name in used) + "."]
    return "\n".join(lines) + "\n"


def recorded(attack: Attack, model: InteractionModel, tokenizer: TextTokenizer, bank: VoiceBank) -> Recording:
    """An attack lived through by a session, as a recording to look at, hear and fork."""
    scene = perform(attack, bank)
    about = {"attack": attack_json(attack)}
    asked = Recording(scene.inputs(), seed=SEED, about=about)
    return replay(asked, model, tokenizer)


def run(
    checkpoint: str | Path = "nano",
    items: int = 200,
    seed: int = 0,
    json_path: str | Path | None = None,
    device: str = "cpu",
    keep: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Search, in training voices, and write the report; run it again to go on where it was stopped.

    Args:
        checkpoint: a shipped name or a folder.
        items: attacks to play, those of the log included.
        seed: of the search.
        json_path: the report; as Markdown, `.md`, and the log of everything tried, `.jsonl`, lie beside it. None: under
            `runs/redteam`.
        device: `cpu` or `cuda`.
        keep: a folder for a recording of each finding's example; None keeps none.
        console: where the table goes.

    Raises CheckpointError for a checkpoint that cannot be read, ValueError for another search's log
    or for a report named like what lies beside it.
    """
    console = console or Console()
    model, tokenizer = load_checkpoint(checkpoint, device)
    name = Path(str(checkpoint)).name
    label = f"{name} {checkpoint_hash(checkpoint)}"
    path = Path(json_path) if json_path else Path("runs") / "redteam" / f"{name}-{seed}.json"
    if path.suffix in (".jsonl", ".md"):
        raise ValueError(f"{path.suffix} files lie beside the report: name it {path.with_suffix('.json').name}.")
    bank = VoiceBank.open("train")
    log = Log(path.with_suffix(".jsonl"), {"search": VERSION, "checkpoint": label, "seed": seed, "split": bank.split})
    try:
        columns = (TextColumn("attacks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("attacks", total=items, completed=len(log.tried))

            def note(batch: Sequence[Tried]) -> None:
                log.keep(batch)
                bar.advance(task, len(batch))

            search(player_of(model, tokenizer), bank, items, seed, log.tried, note)
    finally:  # stopped or not: what there is
        report = report_of(log.tried, label, seed, bank.split, REFUSAL[0] in tokenizer.vocab)
        path.write_text(json.dumps(report, indent=1) + "\n")
        path.with_suffix(".md").write_text(report_markdown(report))
    console.print(Markdown(report_markdown(report)))
    console.print(f"report: {path}, and as a table for the model card beside it; everything tried: {log.path}")
    for number, row in enumerate(report["findings"] if keep else []):
        folder = Path(str(keep)) / f"{number:03d}"
        recorded(attack_of(row["example"]), model, tokenizer, bank).save(folder)
    return report
