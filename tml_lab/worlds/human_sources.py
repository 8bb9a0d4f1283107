"""Reading recordings of people out of packages: takes, the files that hold them, a word cut out of a phrase."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio
from tml_lab.worlds.lexicon import NUMBERS

TENS = {30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"}
WORD_OF = {str(n): w for n, w in enumerate(NUMBERS)} | {str(n): w for n, w in TENS.items()}
NUMBER_WORDS = frozenset(WORD_OF.values())
_LEAD = SAMPLE_RATE // 5  # faint noise around what is aligned: the model expects a pause before and after
_PAD = SAMPLE_RATE // 50  # 20 ms: the aligner's frames are 10 ms and its word edges a frame or two off


@dataclass(frozen=True)
class Take:
    """One recording: `speaker` says `text` in `audio` (f32 [n] at 16 kHz). `trim` False: kept to its ends."""

    speaker: str
    text: str
    audio: Audio
    trim: bool = True


Recipe = Callable[[Path], Iterator[Take]]


def person(sex: str | None, channel: str, author: str = "") -> dict[str, str | None]:
    """What the index says of a speaker; `channel` is "studio", "room" or "telephone" (8 kHz)."""
    about: dict[str, str | None] = {"sex": sex, "channel": channel}
    return about | ({"author": author} if author else {})


@dataclass(frozen=True)
class Source:
    """A package, who speaks in it, and the recipe that reads their takes from the unpacked package."""

    package: str
    via: Literal["debian", "pypi", "npm", "engines"]
    version: str
    licence: str
    author: str
    split: Literal["train", "test", "human"]
    folder: str  # below data/recordings
    speakers: dict[str, dict[str, str | None]]
    takes: Recipe = field(repr=False)
    also: tuple[str, ...] = ()  # further packages read with it (the texts, for instance)
    url: str = ""  # where a Debian release other than the stable one keeps it
    squeeze: float = 0.5  # Vorbis: 0 best quality .. 1 smallest

    @property
    def packages(self) -> tuple[str, ...]:
        """All the packages to download."""
        return (self.package, *self.also)


def read(path: Path, *options: str) -> Audio:
    """Any file libsndfile or ffmpeg knows -> f32 [n] mono at 16 kHz; `options` name a headerless format.

    Raises: CalledProcessError when neither can read it.
    """
    if path.suffix in (".wav", ".ogg", ".flac") and not options:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [n, channels]
        return np.asarray(
            soxr.resample(sound.mean(axis=1), rate, SAMPLE_RATE), np.float32
        )  # [n, c] -> [n] -> [m]
    target = ["-f", "f32le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-"]
    command = ["ffmpeg", "-v", "error", *options, "-i", str(path), *target]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def one_speaker(name: str, pattern: str, text_of: Callable[[str], str | None], *options: str) -> Recipe:
    """A recipe: each file matching `pattern` below the package, its text found by the name without suffix."""

    def takes(root: Path) -> Iterator[Take]:
        for path in sorted(root.glob(pattern)):
            text = text_of(path.stem)
            if text:
                yield Take(name, text, read(path, *options))

    return takes


def plain(text: str) -> str:
    """A transcript as lower-case words: digits spelled, without [directions], (remarks) and punctuation."""
    text = re.sub(r"\[.*?\]|\(.*?\)|<.*?>", " ", text.lower())
    text = text.replace("#", " pound ").replace("*", " star ").replace("&", " and ").replace("-", " ")
    text = re.sub(r"\d+", lambda found: f" {WORD_OF.get(found.group(), '')} ", text)
    return " ".join(re.sub(r"[^a-z' ]+", " ", text).split())


@cache
def _decoder() -> Any:
    """pocketsphinx with its US English model (PyPI `pocketsphinx`, BSD): a second to load, kept."""
    from pocketsphinx import Decoder

    return Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")


def align(audio: Audio, text: str) -> list[tuple[str, float, float]]:
    """When each word of `text` is said in `audio` f32 [n]: (word, start s, end s); empty when it does not fit.

    Forced alignment by pocketsphinx's US English model (PyPI `pocketsphinx`, BSD).
    """
    decoder = _decoder()
    try:
        decoder.set_align_text(text)
    except RuntimeError:  # a word that its dictionary does not have
        return []
    faint = np.random.default_rng(0).standard_normal(len(audio) + 2 * _LEAD) * 1e-3
    faint[_LEAD:-_LEAD] += audio * (0.6 / max(float(np.abs(audio).max()), 1e-6))
    pcm = (faint * 32767).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    before = _LEAD / SAMPLE_RATE
    found = [
        (s.word, max(0.0, s.start_frame / 100 - before), (s.end_frame + 1) / 100 - before)
        for s in decoder.seg() or ()
    ]
    words = [(re.sub(r"\(\d\)", "", word), start, end) for word, start, end in found if word[0] != "<"]
    return words if [word for word, _, _ in words] == text.split() else []


def cut_words(audio: Audio, text: str, wanted: Iterable[str]) -> Iterator[tuple[str, Audio]]:
    """Each of the `wanted` words out of a recording f32 [n] of `text`, with 20 ms on either side."""
    wanted = set(wanted)
    for word, start, end in align(audio, text):
        if word in wanted and 0.1 < end - start < 1.2:
            yield word, audio[max(0, round(start * SAMPLE_RATE) - _PAD) : round(end * SAMPLE_RATE) + _PAD]
