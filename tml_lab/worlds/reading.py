"""One person's voice, read aloud for the model to get to know: what is read, and the folder that keeps it.

A voice is a folder with `voice.flac` (16 kHz, mono, clip after clip) and `voice.json` (which clip says what), the form
of the recordings in `data/recordings`. It stays on the machine of whoever read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from tml_lab.config import SAMPLE_RATE
from tml_lab.signal.audio import read_audio
from tml_lab.worlds.clips import Audio, level, trim
from tml_lab.worlds.families.cues import CUES
from tml_lab.worlds.humans import HumanVoice, people_at
from tml_lab.worlds.lexicon import COLOURS, DAYS, NUMBERS, OPPOSITES
from tml_lab.worlds.voices import normal_text
from tml_lab.worlds.wordings import WORDINGS

WORDS = tuple(dict.fromkeys((*NUMBERS, *OPPOSITES, *COLOURS, *DAYS)))
SENTENCES = tuple(WORDINGS[name][0] for name in (*CUES, "how_long", "what_name", "count", "days", "stop"))
READING = (*NUMBERS, *WORDS, *SENTENCES)
"""What is read: the numbers twice, the other cued words, and what is asked most. About four minutes."""

NAME = "voice"
KINDS = frozenset({".wav", ".flac", ".ogg", ".mp3"})
_GAP = np.zeros(SAMPLE_RATE // 20, np.float32)  # 50 ms between clips
_LEAST = SAMPLE_RATE // 10  # samples of a clip that can hold a word
_QUIET = 1e-3  # root mean square below which nothing was said
_EDGE = SAMPLE_RATE // 20  # 50 ms at either end, in which a whole text has not begun yet, or is over
_CUT = 0.25  # of the loudest 50 ms: what is louder at an edge goes on beyond it


class ReadingError(ValueError):
    """A folder that holds no voice, or a recording that cannot be used."""


def usable(text: str, audio: Audio) -> Audio:
    """What was read, f32 [n] at 16 kHz, trimmed and levelled. Raises ReadingError when nothing can be heard in it, or
    when it is cut off at one end."""
    clip = heard(text, audio)
    edges = len(audio) // _EDGE * _EDGE
    loud = np.sqrt(np.mean(audio[:edges].reshape(-1, _EDGE) ** 2, axis=1))  # [n // 800]
    for where, edge in (("beginning", loud[0]), ("end", loud[-1])):
        if edge > _CUT * loud.max():
            raise ReadingError(f"{text!r} was cut off at its {where}: read it again, while it stands there")
    return clip


def heard(text: str, audio: Audio) -> Audio:
    """The same without a look at the ends. Raises ReadingError for a recording that is not finite mono sound, or in
    which nothing can be heard."""
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise ReadingError(f"the recording of {text!r} is not one channel of finite samples")
    clip = trim(audio.astype(np.float32), floor_db=-35.0)
    if len(clip) < _LEAST or float(np.sqrt(np.mean(clip**2))) < _QUIET:
        raise ReadingError(f"nothing could be heard at {text!r}: read it again, louder or closer to the microphone")
    return level(clip)


def write_voice(folder: Path, clips: Iterable[tuple[str, Audio]], who: str = "me") -> Path:
    """Keep what somebody read: `(text, f32 [n] at 16 kHz)` for each clip; a text may come several times.

    A kill while it is written leaves the earlier voice whole, but for the moment between the two files.
    Raises ReadingError when there is no clip.
    """
    parts: list[Audio] = []
    rows: list[list[object]] = []
    at = 0
    for text, clip in clips:
        rows.append([round(at / SAMPLE_RATE, 5), round((at + len(clip)) / SAMPLE_RATE, 5), normal_text(text), who])
        parts += [clip, _GAP]
        at += len(clip) + len(_GAP)
    if not rows:
        raise ReadingError(f"nothing was read, so there is no voice to keep in {folder}")
    head = {
        "package": who, "licence": "private", "author": who, "sound": ".flac",
        "speakers": {who: {"sex": None, "channel": "room"}}, "clips": rows,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    sound, index = folder / f"{NAME}.flac", folder / f"{NAME}.json"
    soundfile.write(folder / "new.tmp", np.concatenate(parts), SAMPLE_RATE, format="FLAC")
    (folder / "index.tmp").write_text(json.dumps(head, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "new.tmp").replace(sound)
    (folder / "index.tmp").replace(index)
    return folder


def gather(folder: Path) -> Path:
    """Make a voice of a folder of recordings named by what they say: `seven.wav`, `seven_2.wav`, `what is my name.wav`.

    Raises ReadingError where there are none or one is silent; SignalError for one that cannot be read.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in KINDS and p.stem != NAME)
    if not paths:
        raise ReadingError(f"{folder} holds neither {NAME}.json nor recordings named by what they say (seven.wav)")
    clips = []
    for path in paths:
        text = normal_text(path.stem.rstrip("_0123456789").replace("_", " "))
        clips.append((text, heard(text, read_audio(path))))
    return write_voice(folder, clips)


def open_voice(folder: Path) -> HumanVoice:
    """Whose voice the folder keeps; recordings named by what they say are gathered first. Raises ReadingError."""
    if not folder.is_dir():
        raise ReadingError(f"there is no folder {folder}: read yourself in first, or put seven.wav and the like there")
    if not (folder / f"{NAME}.json").is_file():
        gather(folder)
    try:
        people = people_at(folder)
    except (KeyError, TypeError, ValueError) as error:
        raise ReadingError(f"{folder / NAME}.json is damaged ({error}): delete it and read again") from error
    if len(people) != 1:
        raise ReadingError(f"{folder} holds {len(people)} voices; one at a time can be got to know")
    return people[0]


def open_takes(folder: Path) -> dict[str, list[Audio]]:
    """What has been read so far: text -> its clips, in order. Empty where there is nothing yet."""
    if not (folder / f"{NAME}.json").is_file():
        return {}
    person = open_voice(folder)
    return {text: person.every_take(text) for text in person.texts}


def without_last_takes(person: HumanVoice) -> HumanVoice:
    """The same person, but for the last take of what they read more than once: that is kept for a test."""
    return replace(person, _rows={text: rows[:-1] or rows for text, rows in person._rows.items()})


def last_takes(person: HumanVoice, texts: Iterable[str]) -> HumanVoice:
    """The same person, who has only the last take of those `texts` that they read more than once."""
    some = {*texts}
    return replace(person, _rows={t: rows[-1:] for t, rows in person._rows.items() if t in some and len(rows) > 1})
