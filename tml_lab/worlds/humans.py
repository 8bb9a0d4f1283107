"""Recordings of real people: who said what, and the clip itself.

Each package of recordings is one Ogg Vorbis file (16 kHz mono) and one JSON index beside it, in
`data/recordings/humans_train` or `data/recordings/humans_heldout`; a package is wholly on one side, so that
nobody of the held-out side was ever heard in training. `data/SOURCES_humans.md` names packages, authors and licences;
`build_humans.py` makes the files from the packages.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from tml_lab.config import SAMPLE_RATE

Audio = NDArray[np.float32]
Split = Literal["train", "human"]

FOLDERS: dict[str, str] = {"train": "humans_train", "human": "humans_heldout"}
_KEPT_CLIPS = 4000  # decoded clips kept in memory: about 4000 x 0.7 s x 64 kB/s = 180 MB at most


def recordings_dir() -> Path:
    """`data/recordings` of this checkout."""
    return Path(__file__).resolve().parents[2] / "data" / "recordings"


class _Package:
    """One Vorbis file with its index; clips are decoded when first asked for."""

    def __init__(self, index_path: Path) -> None:
        self.index: dict[str, Any] = json.loads(index_path.read_text(encoding="utf-8"))
        self.path = index_path.with_suffix(self.index.get("sound", ".ogg"))
        self._clips: OrderedDict[int, Audio] = OrderedDict()

    def clip(self, number: int) -> Audio:
        """The clip of row `number` of the index. Returns: f32 [n] at 16 kHz."""
        found = self._clips.get(number)
        if found is None:
            row = self.index["clips"][number]
            start, end = (round(seconds * SAMPLE_RATE) for seconds in row[:2])
            found = np.asarray(
                soundfile.read(self.path, start=start, stop=end, dtype="float32")[0], np.float32
            )
            if len(self._clips) >= _KEPT_CLIPS:
                self._clips.popitem(last=False)
            self._clips[number] = found
        return found.copy()


@cache
def _package(index_path: Path) -> _Package:
    return _Package(index_path)


def _packages(folder: str) -> list[_Package]:
    return [_package(path) for path in sorted((recordings_dir() / folder).glob("*.json"))]


def people_at(folder: Path) -> list[HumanVoice]:
    """Everybody in the packages of any folder, read anew."""
    return [person for path in sorted(folder.glob("*.json")) for person in _people(_Package(path))]


@dataclass(frozen=True)
class HumanVoice:
    """One person. `channel` is "studio", "room" or "telephone"; `sex` "f", "m" or None where nobody says."""

    name: str
    package: str
    licence: str
    author: str
    sex: str | None
    channel: str
    _source: _Package = field(repr=False, compare=False)
    _rows: dict[str, tuple[int, ...]] = field(repr=False, compare=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """What this person can be heard to say: lower-case words, or whole phrases."""
        return tuple(self._rows)

    @property
    def words(self) -> tuple[str, ...]:
        """The texts of one word."""
        return tuple(text for text in self._rows if " " not in text)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The texts of several words: prompts, sentences, background speech."""
        return tuple(text for text in self._rows if " " in text)

    def takes(self, text: str) -> int:
        """How many recordings of `text` there are (0 when none)."""
        return len(self._rows.get(text, ()))

    def clip(self, text: str, rng: np.random.Generator | None = None) -> Audio:
        """One recording of `text`, trimmed, about -23 dBFS; `rng` picks among takes, None takes the first.

        Returns: f32 [n] at 16 kHz. Raises: KeyError when this person never said `text`.
        """
        rows = self._rows.get(text)
        if rows is None:
            raise KeyError(f"{self.name} has no recording of {text!r}; see .texts for what there is")
        return self._source.clip(rows[0] if rng is None else rows[int(rng.integers(len(rows)))])

    def every_take(self, text: str) -> list[Audio]:
        """All recordings of `text`, in their order: f32 [n] at 16 kHz each; none when it was never said."""
        return [self._source.clip(row) for row in self._rows.get(text, ())]


def _people(package: _Package) -> list[HumanVoice]:
    index = package.index
    rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (_start, _end, text, speaker) in enumerate(index["clips"]):
        rows[speaker][text].append(number)
    return [
        HumanVoice(
            speaker, index["package"], index["licence"], about.get("author", index["author"]), about["sex"],
            about["channel"], package, {text: tuple(numbers) for text, numbers in rows[speaker].items()},
        )
        for speaker, about in index["speakers"].items()
        if speaker in rows
    ]  # fmt: skip


def people_in(folder: str) -> list[HumanVoice]:
    """Everybody in the packages of a folder below `data/recordings`."""
    return [person for package in _packages(folder) for person in _people(package)]


@cache
def human_voices(split: Split) -> list[HumanVoice]:
    """The people of one side: "train", or "human" (held out: no clip of theirs is ever trained on).

    Raises: ValueError for another name of a split.
    """
    if split not in FOLDERS:
        raise ValueError(f"unknown split {split!r} of human recordings; use one of {', '.join(FOLDERS)}")
    return people_in(FOLDERS[split])


@cache
def foreign_speech(split: Split) -> list[Audio]:
    """People talking in other languages, about 2 to 8 s each: background that asks nothing of the listener.

    Returns: list of f32 [n] at 16 kHz. Languages and people of the two splits do not overlap.
    """
    if split not in FOLDERS:
        raise ValueError(f"unknown split {split!r} of human recordings; use one of {', '.join(FOLDERS)}")
    return [
        package.clip(number)
        for package in _packages("foreign")
        if package.index["split"] == split
        for number in range(len(package.index["clips"]))
    ]


@cache
def human_noise() -> list[Audio]:
    """Laughs, coughs, steps, keystrokes and other sounds without words. List of f32 [n] at 16 kHz."""
    return [
        package.clip(number)
        for package in _packages("noise")
        for number in range(len(package.index["clips"]))
    ]
