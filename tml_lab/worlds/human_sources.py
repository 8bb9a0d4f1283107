"""Which packages hold recordings of real people, and how to read who says what out of each."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio
from tml_lab.worlds.lexicon import NUMBERS

TENS = {30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"}
WORD_OF = {str(value): word for value, word in enumerate(NUMBERS)} | {
    str(n): word for n, word in TENS.items()
}


@dataclass(frozen=True)
class Take:
    """One recording: who says `text` in `audio` (f32 [n] at 16 kHz). `trim` False: already cut to the word."""

    speaker: str
    text: str
    audio: Audio
    trim: bool = True


@dataclass(frozen=True)
class Source:
    """A package. `speakers` maps a name to {"sex": "f" | "m" | None, "channel": "studio" | "room" | "telephone"}."""

    package: str
    via: Literal["debian", "pypi", "npm"]
    version: str
    licence: str
    author: str
    split: Literal["train", "human"]
    folder: str  # below data/recordings
    speakers: dict[str, dict[str, str | None]]
    takes: Callable[[Path], Iterator[Take]] = field(repr=False)
    also: tuple[str, ...] = ()  # further packages that are read with it (the texts, for instance)
    squeeze: float = 0.5  # Vorbis: 0 best quality .. 1 smallest

    @property
    def packages(self) -> tuple[str, ...]:
        """All the packages to download."""
        return (self.package, *self.also)


def read(path: Path, *options: str) -> Audio:
    """Any file ffmpeg knows -> f32 [n] mono at 16 kHz. `options` name a headerless format. Raises CalledProcessError."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        *options,
        "-i",
        path,
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        str(SAMPLE_RATE),
        "-",
    ]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def one_speaker(
    name: str, pattern: str, text_of: Callable[[str], str | None], *options: str
) -> Callable[[Path], Iterator[Take]]:
    """A recipe: every file that matches `pattern` below the package, its text from its name without suffix."""

    def takes(root: Path) -> Iterator[Take]:
        for path in sorted(root.glob(pattern)):
            text = text_of(path.stem)
            if text:
                yield Take(name, text, read(path, *options))

    return takes


def _plain(text: str) -> str:
    """A transcript as lower-case words: without directions in [brackets] or (parentheses), without punctuation."""
    text = re.sub(r"\[.*?\]|\(.*?\)|<.*?>", " ", text.lower()).replace("-", " ").replace("&", " and ")
    return " ".join(re.sub(r"[^a-z' ]+", " ", text).split())


def _asterisk(root: Path) -> Iterator[Take]:
    """Allison Smith's telephone prompts: digits and letters by name, phrases by the transcript in the docs."""
    listing = next(root.glob("usr/share/doc/*/core-sounds-en.txt.gz"))
    texts = {}
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8", "replace").splitlines():
        name, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            texts[name.strip()] = text
    sounds = next(root.glob("usr/share/asterisk/sounds/en_US_f_Allison"))
    for path in sorted(sounds.rglob("*.g722")):
        name = str(path.relative_to(sounds).with_suffix(""))
        digit = WORD_OF.get(path.stem) if name.startswith("digits/") else None
        text = digit or _plain(texts.get(name, ""))
        if (
            text
            and not re.search(r"\b(beep|tone|silence|sound|pause)\b", text)
            and not name.startswith("silence/")
        ):
            yield Take("allison", text, read(path, "-f", "g722"))


_SAYTIME = {"the_time_is": "the time is", "oclock": "o'clock", "am": "a m", "pm": "p m"}
_SCID = {"x": "takes", "Back": "back", "Check": "check", "King": "king", "Queen": "queen", "Knight": "knight", "Rook": "rook",
         "Bishop": "bishop", "Mate": "checkmate", "CastleK": "castle king side", "CastleQ": "castle queen side"}  # fmt: skip

SOURCES: tuple[Source, ...] = (
    Source(
        "asterisk-core-sounds-en-g722", "debian", "1.6.1-1", "CC-BY-SA-3.0", "Allison Smith (theivrvoice.com), Digium", "train",
        "humans_train", {"allison": {"sex": "f", "channel": "studio"}}, _asterisk, ("asterisk-core-sounds-en",),
    ),
    Source(
        "csmash-data", "debian", "0.6.6-6.9", "GPL-2+", "Kanna Yoshihiro", "train", "humans_train",
        {"csmash": {"sex": "m", "channel": "room"}},
        one_speaker("csmash", "usr/share/games/csmash/wav/*.wav", lambda stem: stem if stem in WORD_OF.values() else None),
    ),
    Source(
        "captcha", "pypi", "0.7.1", "BSD-3-Clause", "Hsiaoming Yang", "train", "humans_train",
        {"captcha": {"sex": "m", "channel": "telephone"}},
        lambda root: (Take("captcha", WORD_OF[p.parent.name], read(p)) for p in sorted(root.glob("captcha/data/[0-9]/default.wav"))),
    ),
    Source(
        "spokennumbers", "pypi", "1.0.0", "MIT", "Daniel Andersson", "train", "humans_train",
        {"spokennumbers": {"sex": "f", "channel": "room"}},
        one_speaker("spokennumbers", "spokennumbers/default/[0-9].wav", WORD_OF.get),
    ),
    Source(
        "scid-data", "debian", "1:4.7.4+dfsg1-2", "GPL-2", "Shane Hudson and the Scid authors", "train", "humans_train",
        {"scid": {"sex": "m", "channel": "room"}},
        one_speaker("scid", "usr/share/scid/sounds/*.wav", lambda stem: WORD_OF.get(stem) or _SCID.get(stem)),
    ),
    Source(
        "saytime", "debian", "1.0-35+b1", "GPL", "David C Dawson", "human", "humans_heldout",
        {"dawson": {"sex": "m", "channel": "telephone"}},
        one_speaker(
            "dawson", "usr/share/saytime/*.au", lambda stem: WORD_OF.get(stem) or _SAYTIME.get(stem, stem),
            "-f", "mulaw", "-ar", "8000", "-ac", "1",
        ),
    ),
)  # fmt: skip
