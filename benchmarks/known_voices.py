"""How much better does a model hear a voice that it got to know? And everybody else?

    OMP_NUM_THREADS=1 python benchmarks/known_voices.py --json FILE [VOICE...]

Each voice reads what `VoiceReader` shows (`tml_lab.worlds.reading.READING`), `tml_lab.train.adapt` trains on it, and
scenes with cued words are played before and after. A synthetic voice of the test split reads in one manner and is
tested in all manners of the benchmark, inside running talk too. A real person has one recording of each number, so they
read every second number and are tested on the others, and the other way round: words never heard in this voice.
`others` are CueSpeak's items in all voices of the test split.

Training takes minutes for each voice; a run that was stopped goes on with what is missing in FILE.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tml_lab.bench import cuespeak
from tml_lab.bench.human_numbers import FAMILIES as NUMBER_FAMILIES
from tml_lab.bench.machine import machine, now
from tml_lab.bench.runner import ModelPlayer
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.train.adapt import STEPS, adapt
from tml_lab.worlds.episode import episode
from tml_lab.worlds.families.cues import CUES, one_cue
from tml_lab.worlds.humans import HumanVoice, human_voices
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.reading import READING, write_voice
from tml_lab.worlds.stage import Episode, open_stage
from tml_lab.worlds.style import Style
from tml_lab.worlds.voices import Voice, VoiceBank, recorded_voice

FAMILIES = ("repeat_numbers", "next_number", "opposite", "to_spanish")
SYNTHETIC = ("festival/kal", "festival/ked", "pico/en-US", "pico/en-GB")
SEED = 700_000  # scenes that no benchmark draws


def read_by_engine(voice: Voice, bank: VoiceBank, folder: Path) -> Path:
    """A synthetic voice's reading, each text a little faster or slower, higher or lower."""
    rng = np.random.default_rng(5)
    clips = []
    for text in READING:
        style = Style(rate=float(rng.uniform(0.9, 1.12)), pitch=float(rng.uniform(0.95, 1.05)))
        clips.append((text, bank.say(text, voice, rng, style=style)))
    return write_voice(folder, clips)


def halves(person: HumanVoice) -> list[tuple[str, HumanVoice, HumanVoice]]:
    """`(name, who reads, who is tested)`: every second number, and the others."""
    numbers = [word for word in NUMBERS if word in person.texts]
    found = []
    for k in (0, 1):
        read, tested = numbers[k::2], numbers[1 - k :: 2]
        parts = [replace(person, _rows={text: person._rows[text] for text in some}) for some in (read, tested)]
        found.append((f"{person.name} {'even' if k == 0 else 'odd'}", *parts))
    return found


def scenes_of_engine(voice: Voice, n: int) -> list[Episode]:
    """`n` scenes of each family in which one synthetic voice says everything, as in the benchmark's own."""
    bank = VoiceBank("test", [voice])
    return [episode(family, SEED + i, "test", bank) for family in FAMILIES for i in range(n)]


def scenes_of_person(person: HumanVoice, n: int) -> list[Episode]:
    """`n` scenes of each family of numbers: the instruction is typed, then the person says some of their numbers."""
    voice = recorded_voice(person)
    bank = VoiceBank("human", [voice])
    items = []
    for family in NUMBER_FAMILIES:
        for i in range(n):
            stage = open_stage(bank, np.random.default_rng([SEED, i, len(family)]), "human")
            stage.ask(family, typed=1.0)
            stage.wait(0.5, 1.5)
            for _ in range(int(stage.rng.integers(3, 8))):
                one_cue(stage, CUES[family], voice, answered=True)
                stage.wait(0.35, 1.5)
            items.append(stage.finish(family, SEED + i))
    return items


def readings(names: list[str], n: int, folder: Path) -> Iterator[tuple[str, Path, list[Episode]]]:
    """`(name, reading, scenes)` of each voice; of a person two."""
    bank = VoiceBank.open("test", quiet=True)
    for name in names:
        if "/" in name:
            voice = bank.voice(name)
            yield name, read_by_engine(voice, bank, folder / name.replace("/", "-")), scenes_of_engine(voice, n)
            continue
        person = next(p for p in human_voices("human") if p.name == name)
        for half, read, tested in halves(person):
            clips = [(text, read.clip(text)) for text in read.texts]
            yield half, write_voice(folder / half.replace(" ", "-"), clips), scenes_of_person(tested, n)


def played(checkpoint: str | Path, items: list[Episode]) -> dict[str, float]:
    """A checkpoint's `strict` and `per_cue` on scenes with cued words."""
    model, tokenizer = load_checkpoint(checkpoint)
    found = cuespeak.measure(items, ModelPlayer(model, tokenizer).play(items), SEED)
    return {name: round(found[name].value, 3) for name in ("strict", "per_cue")}


def main() -> None:
    """Run and print; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voices", nargs="*", default=[*SYNTHETIC, *(p.name for p in human_voices("human"))])
    parser.add_argument("--items", type=int, default=15, help="scenes of each family")
    parser.add_argument("--others", type=int, default=8, help="CueSpeak's items of each family, all test voices")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--folder", type=Path, default=Path("runs/known_voices"), help="for readings and checkpoints")
    parser.add_argument("--json", type=Path, help="write the results here, one by one; go on with what is there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"benchmark": "known_voices", "date": now(), "machine": machine(), "voices": {}}
    if options.json and options.json.is_file():
        result["voices"] = json.loads(options.json.read_text(encoding="utf-8"))["voices"]
    others = cuespeak.items(options.others, SEED, "test")
    result["others_before"] = played("nano", others)
    names = [name for name in options.voices if name != "es-co"]  # who says no English number
    for name, reading, items in readings(names, options.items, options.folder):
        if name in result["voices"]:
            continue
        mine = adapt(reading, options.folder / f"{reading.name}-nano", options.minutes, steps=options.steps)
        row = {"before": played("nano", items), "after": played(mine, items), "others": played(mine, others)}
        steps = len((mine / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines())
        result["voices"][name] = row | {"items": len(items), "steps": steps}
        Console().print(name, row)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = Table("voice", "strict before", "after", "per cue before", "after", "others: strict", "per cue")
    for name, row in result["voices"].items():
        pairs = [row[when][figure] for figure in ("strict", "per_cue") for when in ("before", "after")]
        table.add_row(name, *(f"{v:.2f}" for v in (*pairs, row["others"]["strict"], row["others"]["per_cue"])))
    Console().print(table, f"others before: {result['others_before']}")


if __name__ == "__main__":
    main()
