"""Build the asset of the one reply voice: `python -m tml_lab.worlds.build_reply_voice`.

Needs Debian's `festival` and `festvox-us-slt-hts`. Nothing else in the project does: the result is committed
(`data/voice/reply.flac` and, by `--more`, `reply_more.flac`, each with its `.json`). Of the voices tried, this one was
chosen by what an independent recogniser understands of short closed-vocabulary utterances; `data/voice/README.md` holds
the scores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.worlds.lexicon import MORE_REPLY_WORDS, REPLY_WORDS
from tml_lab.worlds.reply_voice import ASSET, MAX_TURNS, MORE_ASSET

VOICE = "cmu_us_slt_arctic_hts"
RATE = 1.2  # of the engine's own speech rate: most words then fit into two or three turns
LEAD = 160  # samples of silence left before a word (10 ms)
TAIL = 480  # samples after the last loud frame (30 ms), faded out
DELAY = 400  # samples by which the vocoder's sound comes after its mel: they must fit into the last turn
LEVEL = 10 ** (-21 / 20)  # root mean square of the loud frames
QUIET_DB = -42.0  # frames below this, relative to the loudest, count as silence at the ends

# Words whose phones are given, as (syllable, stress) pairs: the engine knows English only, and its own
# "four" is heard as "floor".
PHONES = {
    "four": "((f ow r) 1)",
    "uno": "((uw) 1) ((n ow) 0)",
    "dos": "((d ow s) 1)",
    "tres": "((t r ey s) 1)",
    "cuatro": "((k w aa) 1) ((t r ow) 0)",
    "cinco": "((s iy ng) 1) ((k ow) 0)",
    "seis": "((s ey s) 1)",
    "siete": "((s y eh) 1) ((t ey) 0)",
    "ocho": "((ow) 1) ((ch ow) 0)",
    "nueve": "((n w ey) 1) ((v ey) 0)",
    "diez": "((d y eh s) 1)",
    "rojo": "((r ow) 1) ((hh ow) 0)",
    "azul": "((aa) 0) ((s uw l) 1)",
    "verde": "((v eh r) 1) ((d ey) 0)",
    "amarillo": "((aa) 0) ((m aa) 0) ((r iy) 1) ((y ow) 0)",
    "negro": "((n ey) 1) ((g r ow) 0)",
    "blanco": "((b l aa ng) 1) ((k ow) 0)",
}


def synthesise(words: Iterable[str], rate: float = RATE) -> dict[str, np.ndarray]:
    """Let festival say each word by itself: f32 `[n]` at 16 kHz, untrimmed.

    Raises RuntimeError if festival or its voice is missing.
    """
    if shutil.which("festival") is None:
        raise RuntimeError("festival is not installed; run: apt install festival festvox-us-slt-hts")
    words = list(words)
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"(voice_{VOICE})", f'(set! hts_engine_params (append hts_engine_params \'(("-r" {rate}))))']
        lines += [f'(lex.add.entry \'("{word}" nil ({phones})))' for word, phones in PHONES.items()]
        for i, word in enumerate(words):
            lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{word}")) "{folder}/{i}.wav" \'riff)')
        script = Path(folder) / "say.scm"
        script.write_text("\n".join(lines))
        done = subprocess.run(["festival", "--batch", str(script)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"festival failed: {done.stderr.strip()}; is festvox-us-slt-hts installed?")
        return {word: _read(Path(folder) / f"{i}.wav") for i, word in enumerate(words)}


def _read(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")  # [n]
    return soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)  # [n * 16000 / rate]


def trim(samples: np.ndarray) -> np.ndarray:
    """Cut the silence at both ends, fade the cuts and set the level: f32 `[n]` -> f32 `[m]`."""
    frame = 80
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)  # [frames, 80]
    loudness = np.sqrt((whole**2).mean(axis=1))  # [frames]
    loud = np.flatnonzero(loudness > loudness.max() * 10 ** (QUIET_DB / 20))
    start = max(0, loud[0] * frame - LEAD)
    stop = min(len(samples), (loud[-1] + 1) * frame + TAIL)
    word = samples[start:stop].copy()
    word[: LEAD // 2] *= np.linspace(0, 1, LEAD // 2, dtype=np.float32)
    word[-TAIL // 2 :] *= np.linspace(1, 0, TAIL // 2, dtype=np.float32)
    level = np.sqrt((loudness[loud] ** 2).mean())
    return np.clip(word * (LEVEL / level), -0.99, 0.99)


def pad_to_turns(word: np.ndarray) -> np.ndarray:
    """Silence after the word up to a whole turn, the vocoder's delay included: `[m]` -> f32 `[k * 3200]`."""
    turns = -(-(len(word) + DELAY) // TURN_SAMPLES)
    return np.pad(word, (0, turns * TURN_SAMPLES - len(word)))


def build(words: Iterable[str], asset: Path = ASSET) -> dict[str, int]:
    """Write `asset` (FLAC) and its index (JSON); returns the turns of each word.

    Raises RuntimeError if a word would last longer than four turns.
    """
    clips = {word: pad_to_turns(trim(sound)) for word, sound in synthesise(sorted(set(words))).items()}
    turns = {word: len(clip) // TURN_SAMPLES for word, clip in clips.items()}
    long = [word for word, k in turns.items() if k > MAX_TURNS]
    if long:
        raise RuntimeError(
            f"these words last longer than {MAX_TURNS} turns: {', '.join(long)}; raise RATE or drop them"
        )
    asset.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(asset, np.concatenate(list(clips.values())), SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    index = {
        "voice": VOICE,
        "rate": RATE,
        "sample_rate": SAMPLE_RATE,
        "turn_samples": TURN_SAMPLES,
        "turns": turns,
    }
    asset.with_suffix(".json").write_text(json.dumps(index, indent=1) + "\n")
    return turns


def main() -> None:
    """Build from the lexicon's reply words, or those of what is seen (`--more`)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--more", action="store_true", help="MORE_REPLY_WORDS, which have a file of their own")
    asset, words = (MORE_ASSET, MORE_REPLY_WORDS) if parser.parse_args().more else (ASSET, REPLY_WORDS)
    turns = build(words, asset)
    lengths = np.bincount(list(turns.values()), minlength=MAX_TURNS + 1)[1:]
    print(f"{len(turns)} words in {asset}; words lasting 1..{MAX_TURNS} turns: {lengths.tolist()}")


if __name__ == "__main__":
    main()
