"""Vocoders side by side on the reply voice: `python -m tml_lab.bench.vocoding`.

The trained vocoder and the training-free baseline (pseudo-inverse and RTISI-LA) both get the reference mel
of random utterances, clean and disturbed; Whisper says how many words survive, beside the raw clips.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.bench.baselines.rtisi import Rtisi, rtisi
from tml_lab.bench.machine import machine, now
from tml_lab.bench.own_voice import vocode
from tml_lab.bench.spoken import WhisperJudge, reference_clips, reply_texts, report
from tml_lab.config import SAMPLE_RATE
from tml_lab.model.vocoder import VOCODER_DELAY
from tml_lab.train.vocoder import load_vocoder, sound_loss
from tml_lab.worlds.reply_voice import reply_mel

NANO = Path(__file__).resolve().parents[2] / "data" / "checkpoints" / "nano" / "model.safetensors"


def distance(made: list[Tensor], real: list[np.ndarray]) -> dict[str, float]:
    """Mean spectral distance (see `sound_loss`; mel in units of the normalised mel)."""
    parts = [sound_loss(m[None], torch.from_numpy(r)[None]) for m, r in zip(made, real, strict=True)]
    return {name: float(np.mean([float(p[name]) for p in parts])) for name in parts[0]}


@torch.no_grad()
def compare(n: int = 200, seed: int = 0, noise: float = 0.2, weights: Path = NANO) -> dict[str, Any]:
    """Vocode `n` utterances of one to three words each way, measure, judge, print.

    Args: noise: standard deviation added to the normalised mel in the disturbed rows.
    Returns: a JSON-ready dictionary. Raises: JudgeMissing without the extra `judges`.
    """
    judge = WhisperJudge()
    vocoder = load_vocoder(weights)
    texts = reply_texts(n, seed)
    clips = reference_clips(texts)
    clean = [torch.cat([reply_mel(word) for word in text.split()]) for text in texts]  # [F, 80] each
    generator = torch.Generator().manual_seed(seed)
    noisy = [mel + noise * torch.randn(mel.shape, generator=generator) for mel in clean]
    ways: dict[str, tuple[Callable[[Tensor], Tensor], list[Tensor]]] = {
        "vocoder": (lambda mel: vocode(vocoder, mel), clean),
        "RTISI-LA": (rtisi, clean),
        "vocoder, noisy mel": (lambda mel: vocode(vocoder, mel), noisy),
        "RTISI-LA, noisy mel": (rtisi, noisy),
    }
    sounds: dict[str, list[Tensor]] = {}
    rows: dict[str, dict[str, Any]] = {}
    seconds = sum(len(clip) for clip in clips) / SAMPLE_RATE
    for name, (way, mels) in ways.items():
        began = time.process_time()
        sounds[name] = [way(mel) for mel in mels]
        cost = (time.process_time() - began) / seconds
        rows[name] = {**distance(sounds[name], clips), "cpu_ms_per_turn": 200 * cost}
    heard = report({name: [s.numpy() for s in made] for name, made in sounds.items()}, texts, judge, seed)
    for name, score in heard.items():
        rows.setdefault(name, {})["word_accuracy"] = asdict(score.words)
    delays = {"vocoder": VOCODER_DELAY / SAMPLE_RATE, "RTISI-LA": Rtisi().delay / SAMPLE_RATE}
    return {"date": now(), "machine": machine(), "seed": seed, "n": n, "delay_s": delays, "rows": rows}


def main() -> None:
    """Compare from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = compare(args.n, args.seed)
    for name, row in result["rows"].items():
        print(
            name, {key: value if isinstance(value, dict) else round(value, 3) for key, value in row.items()}
        )
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
