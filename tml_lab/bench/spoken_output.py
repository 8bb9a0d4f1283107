"""Does the voice say what the text stream says? `python -m tml_lab.bench.spoken_output`.

The model lives through held-out episodes; each of its utterances goes through the vocoder as at work, and
Whisper writes down what it hears. Right is what the model's own text said, be the answer itself right or
wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.bench.items import episodes_of
from tml_lab.bench.machine import machine, now
from tml_lab.bench.own_voice import vocode
from tml_lab.bench.spoken import WhisperJudge, report
from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint
from tml_lab.stream.rollout import Heard, Run, rollout
from tml_lab.worlds.lexicon import SPANISH
from tml_lab.worlds.reply_voice import reply_turns, reply_words

if TYPE_CHECKING:
    from tml_lab.model.interaction import InteractionModel
    from tml_lab.model.text import TextTokenizer

FAMILIES = (
    "repeat_numbers",
    "next_number",
    "opposite",
    "to_english",
)  # English answers: the judge knows no Spanish
BATCH = 8


@dataclass(frozen=True)
class Utterance:
    """One run of speaking turns. `text`: its words; `mel`: normalised f32 `[16 * turns, 80]`."""

    text: str
    mel: Tensor


def utterances_of(run: Run) -> list[Utterance]:
    """The utterances of one rollout that was told to keep its voice; runs of `<speak>` without a word left
    out.
    """
    words: dict[int, list[str]] = {}
    for turn, word in run.words:
        words.setdefault(turn, []).append(word)
    found: list[Utterance] = []
    turns: list[int] = []
    for turn in range(len(run.speaks) + 1):
        if turn in run.voice:
            turns.append(turn)
            continue
        text = " ".join(word for t in turns for word in words.get(t, []))
        if text:
            found.append(Utterance(text, torch.cat([run.voice[t] for t in turns])))
        turns = []
    return found


def is_fair(utterance: Utterance) -> bool:
    """Can the judge be asked? English reply words only, and room for all of them in the turns that were
    spoken.
    """
    words = utterance.text.split()
    if not set(words) <= set(reply_words()) or set(words) & set(SPANISH):
        return False
    return len(utterance.mel) >= 16 * sum(reply_turns(word) for word in words)


def collect(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    n: int,
    seed: int = 0,
    families: Sequence[str] = FAMILIES,
) -> tuple[list[Utterance], int]:
    """The first `n` utterances the model makes in held-out episodes, the families taking turns.

    Returns: the utterances, and how many more were cut off by the model itself (too few turns for their
    words).
    Raises: ValueError if the model hardly speaks.
    """
    streams = [episodes_of(family, seed, "test") for family in families]
    found: list[Utterance] = []
    cut_off = 0
    for _ in range(10 + n):
        if len(found) >= n:
            return found[:n], cut_off
        drawn = [next(streams[i % len(streams)]) for i in range(BATCH)]
        runs = rollout(model, tokenizer, [Heard(e.audio, e.typed, e.pictures()) for e in drawn], seed, keep_voice=True)
        for utterance in (u for run in runs for u in utterances_of(run)):
            if is_fair(utterance):
                found.append(utterance)
            else:
                cut_off += 1
    raise ValueError(f"the model made only {len(found)} of {n} utterances in {BATCH * (10 + n)} episodes")


@torch.no_grad()
def measure(
    checkpoint: str | Path = "nano", n: int = 200, seed: int = 0, families: Sequence[str] = FAMILIES
) -> dict[str, Any]:
    """Judge `n` utterances beside the reply voice's own clips of the same words; prints both.

    Returns: a JSON-ready dictionary. Raises: CheckpointError, JudgeMissing, ValueError.
    """
    judge = WhisperJudge()
    model, tokenizer = load_checkpoint(checkpoint)
    utterances, cut_off = collect(model, tokenizer, n, seed, families)
    sounds: list[np.ndarray] = [vocode(model.vocoder, u.mel).numpy() for u in utterances]
    scores = report({"model": sounds}, [u.text for u in utterances], judge, seed)
    return {
        "date": now(),
        "machine": machine(),
        "checkpoint": checkpoint_hash(checkpoint),
        "seed": seed,
        "n": n,
        "left_out": cut_off,
        "rows": {name: asdict(score.words) for name, score in scores.items()},
        "heard": {name: [asdict(row) for row in score.utterances] for name, score in scores.items()},
    }


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="whose answers are judged")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = measure(args.checkpoint, args.n, args.seed, args.families)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
