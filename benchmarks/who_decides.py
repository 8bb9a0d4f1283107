"""Who decides to speak: the search for the circuit of the nano's decision, and its measurement on what was held out.

    OMP_NUM_THREADS=2 python benchmarks/who_decides.py --work FOLDER --json data/circuits/who_decides.json

Searched on training voices (the split `train`, seeds no training run draws), measured on voices and seeds held out
(`test`: engines and voices never trained on; `human`: real people). Gates on all heads and experts are closed in three
rounds, each among the parts that the one before kept longest. Sessions and rounds are kept in `--work`, so that a run
that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tml_lab.bench.machine import machine, now
from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.circuit import Case, case, close_gates, decide_all, preserved, trivial
from tml_lab.interp.components import Parts
from tml_lab.interp.stand_ins import Means, means
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Inputs, Recording
from tml_lab.stream.replay import replay
from tml_lab.worlds.episode import FAMILIES, episode
from tml_lab.worlds.voices import Split, VoiceBank

COMMAND = "python benchmarks/who_decides.py --work FOLDER --json data/circuits/who_decides.json"
HEARD = tuple(family for family in FAMILIES if family not in ("story", "noise"))
NUMBERS = ("repeat_numbers", "next_number")  # what real people can be made to say
SETS: dict[str, tuple[Split, tuple[str, ...], tuple[int, ...]]] = {
    "search": ("train", HEARD, (5_000_001, 5_000_002)),
    "test": ("test", HEARD, (7_000_001,)),
    "human": ("human", NUMBERS, (7_000_001, 7_000_002, 7_000_003)),
}
LONGEST = 75  # turns of an episode that are used
FOR_MEANS = 24  # recordings of the search set
BUDGET = 9  # of 90 parts: heads, experts and shared experts alike
# open at first, steps, rate
ROUNDS = ((90, 320, 0.15), (42, 280, 0.08), (26, 220, 0.08))
SIZES = (4, 9, 14, 18, 24, 30, 36, 45, 60)


def sessions(name: str, model: InteractionModel, tokenizer: TextTokenizer) -> list[Recording]:
    """The model lives through every episode of a set."""
    split, families, seeds = SETS[name]
    bank, found = VoiceBank.open(split), []
    for seed in seeds:
        for family in families:
            drawn = episode(family, seed, split, bank)
            turns = min(drawn.n_turns, LONGEST)
            typed = tuple((turn, text) for turn, text in drawn.typed if turn < turns)
            inputs = Inputs(drawn.audio[: turns * TURN_SAMPLES], typed)
            about = {"family": family, "seed": seed, "split": split}
            found.append(replay(Recording(inputs, about=about), model, tokenizer))
    return found


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What lies at `path`, made and put there if nothing does."""
    if not path.exists():
        found = make()
        path.write_bytes(pickle.dumps(found))
    return pickle.loads(path.read_bytes())


def search(work: Path, model: InteractionModel, cases: list[Case], average: Means) -> tuple[list[str], list[str]]:
    """The circuit, and all parts in the order of need: each round's order, behind it what the round before had more."""
    order = list(Parts(model.cfg).labels)
    circuit: list[str] = []
    for n, (size, steps, rate) in enumerate(ROUNDS):
        among = order[:size]
        closing = kept(
            work / f"round{n}.pkl",
            lambda among=among, steps=steps, rate=rate: close_gates(
                model, cases, average, BUDGET, steps, among, rate=rate
            ),
        )
        circuit = list(closing.circuit)
        order = [*closing.order, *order[size:]]
    return circuit, [*circuit, *(label for label in order if label not in circuit)]


def row(model: InteractionModel, cases: list[Case], labels: Sequence[str], average: Means) -> dict[str, Any]:
    """What is preserved when these parts are kept."""
    return asdict(preserved(cases, decide_all(model, cases, Parts(model.cfg).mask(labels), average)))


def measure(model: InteractionModel, cases: list[Case], circuit: list[str], order: list[str], average: Means) -> dict:
    """Faithfulness, completeness and the curve on one set."""
    every, rng = Parts(model.cfg).labels, np.random.default_rng(0)
    without = [label for label in every if label not in circuit]
    result: dict[str, Any] = {name: asdict(found) for name, found in trivial(cases).items()}
    result["curve"] = {str(n): row(model, cases, order[:n], average) for n in SIZES}
    result["without the circuit"] = row(model, cases, without, average)
    for name, draw in (("random parts kept", False), ("without random parts", True)):
        draws = [set(rng.choice(every, len(circuit), replace=False)) for _ in range(3)]
        result[name] = [row(model, cases, [x for x in every if (x in some) != draw], average) for some in draws]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="sessions and rounds lie here")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_checkpoint("nano")
    recordings = {
        name: kept(args.work / f"{name}.pkl", lambda name=name: sessions(name, model, tokenizer)) for name in SETS
    }
    average = means(model, tokenizer, recordings["search"][:FOR_MEANS])
    cases = {name: [case(model, tokenizer, each) for each in found] for name, found in recordings.items()}
    circuit, order = search(args.work, model, cases["search"], average)
    result: dict[str, Any] = {
        "command": COMMAND, "date": now(), "machine": machine(), "checkpoint": f"nano {checkpoint_hash('nano')}",
        "sets": {name: [split, list(families), list(seeds)] for name, (split, families, seeds) in SETS.items()},
        "rounds": ROUNDS, "parts": len(order), "circuit": circuit, "order": order,
    }  # fmt: skip
    args.json.parent.mkdir(parents=True, exist_ok=True)
    for name in ("test", "human"):
        result[name] = measure(model, cases[name], circuit, order, average)
        args.json.write_text(json.dumps(result, indent=1) + "\n")
        print(name, json.dumps(result[name]["curve"]))


if __name__ == "__main__":
    main()
