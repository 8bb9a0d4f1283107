"""Who decides to speak: the search for the circuit of the nano's decision, and its measurement on what was held out.

    OMP_NUM_THREADS=2 python benchmarks/who_decides.py --work FOLDER --json data/circuits/who_decides.json

Searched on training voices (the split `train`, seeds no training run draws), measured on voices and seeds held out
(`test`: engines and voices never trained on; `human`: real people). Gates on all heads and experts are closed in
rounds, each among the parts that the one before kept longest: once for all decisions, once for the turns in which
speech may begin. Sessions and rounds are kept in `--work`, so that a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tml_lab.bench.machine import machine, now
from tml_lab.interp.circuit import (
    KINDS,
    Case,
    Closing,
    case,
    choose,
    close_gates,
    fit_shift,
    logits_all,
    preserved,
    trivial,
)
from tml_lab.interp.components import Parts
from tml_lab.interp.stand_ins import Means, means
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.recording import Recording
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
SEARCHES: dict[str, tuple[tuple[str, ...], tuple[tuple[int, int, float], ...]]] = {
    # which kinds of turn count; rounds: how many parts are open at first, steps, rate
    "decisions": (KINDS, ((90, 320, 0.15), (42, 280, 0.08), (26, 220, 0.08))),
    "begins": (("silent", "begins"), ((90, 300, 0.15),)),
}
SIZES = (4, 9, 14, 18, 24, 36, 60)
TO_FIT = 4  # every fourth recording of the search set fits the shift


def sessions(name: str, model: InteractionModel, tokenizer: TextTokenizer) -> list[Recording]:
    """The model lives through every episode of a set."""
    split, families, seeds = SETS[name]
    bank, found = VoiceBank.open(split), []
    for seed in seeds:
        for family in families:
            drawn = episode(family, seed, split, bank)
            inputs = drawn.inputs().until(min(drawn.n_turns, LONGEST))
            about = {"family": family, "seed": seed, "split": split}
            found.append(replay(Recording(inputs, about=about), model, tokenizer))
    return found


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What lies at `path`, made and put there if nothing does."""
    if not path.exists():
        found = make()
        path.write_bytes(pickle.dumps(found))
    return pickle.loads(path.read_bytes())


def search(work: Path, name: str, model: InteractionModel, cases: list[Case], average: Means) -> dict[str, Any]:
    """The circuit, and all parts in the order of need: each round's order, behind it what the round before had more."""
    kinds, rounds = SEARCHES[name]
    order, circuit = list(Parts(model.cfg).labels), []
    for n, (size, steps, rate) in enumerate(rounds):
        among = order[:size]

        def close(among: list[str] = among, steps: int = steps, rate: float = rate) -> Closing:
            return close_gates(model, cases, average, BUDGET, steps, among, kinds, rate=rate)

        closing = kept(work / f"{name}{n}.pkl", close)
        circuit, order = list(closing.circuit), [*closing.order, *order[size:]]
    order = [*circuit, *(label for label in order if label not in circuit)]
    return {"kinds": kinds, "rounds": rounds, "circuit": circuit, "order": order}


class Ruler:
    """Measures what is preserved when some parts are kept, on several sets; plainly and with a shift."""

    def __init__(self, model: InteractionModel, cases: dict[str, list[Case]], average: Means) -> None:
        self.model, self.average = model, average
        self.fit, self.sets = cases["search"][::TO_FIT], {name: cases[name] for name in ("test", "human")}

    def row(self, labels: Iterable[str], kinds: Sequence[str] = KINDS) -> dict[str, Any]:
        """`{set: {plain, shifted}}` and the shift, fitted on training voices."""
        mask = Parts(self.model.cfg).mask(labels)
        shift = fit_shift(self.model, self.fit, mask, self.average, kinds)
        result: dict[str, Any] = {"shift": round(shift, 3)}
        for name, cases in self.sets.items():
            logits = logits_all(self.model, cases, mask, self.average)
            plain, shifted = (preserved(cases, [choose(x, by) for x in logits]) for by in (0.0, shift))
            result[name] = {"plain": asdict(plain), "shifted": asdict(shifted)}
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="sessions and rounds lie here")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_checkpoint("nano")
    recordings = {
        name: kept(args.work / f"{name}.pkl", lambda name=name: sessions(name, model, tokenizer)) for name in SETS
    }
    average = means(model, tokenizer, recordings["search"][:FOR_MEANS])
    cases = {name: [case(model, tokenizer, each) for each in found] for name, found in recordings.items()}
    result: dict[str, Any] = {
        "command": COMMAND, "date": now(), "machine": machine(), "checkpoint": f"nano {checkpoint_hash('nano')}",
        "sets": {name: [split, list(families), list(seeds)] for name, (split, families, seeds) in SETS.items()},
        "trivial": {n: {k: asdict(v) for k, v in trivial(cases[n]).items()} for n in ("test", "human")},
    }  # fmt: skip
    ruler, every = Ruler(model, cases, average), Parts(model.cfg).labels
    rng = np.random.default_rng(0)
    for name in SEARCHES:
        result[name] = found = search(args.work, name, model, cases["search"], average)
        kinds = found["kinds"]
        found["curve"] = {}
        for n in SIZES:
            found["curve"][str(n)] = ruler.row(found["order"][:n], kinds)
            print(name, n, json.dumps(found["curve"][str(n)]), flush=True)
            args.json.write_text(json.dumps(result, indent=1) + "\n")
        for n in (BUDGET, 36):
            gone = set(found["order"][:n])
            found[f"without the first {n}"] = ruler.row([x for x in every if x not in gone], kinds)
            drawn = set(rng.choice(every, n, replace=False))
            found[f"without {n} at random"] = ruler.row([x for x in every if x not in drawn], kinds)
            print(name, n, json.dumps(found[f"without the first {n}"]), flush=True)
            args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
