"""Make `data/recordings/demo`: the short clips that play where there is no microphone.

    python -m tml_lab.worlds.build_demo [CLIP...]

Each clip is a FLAC file and a JSON file beside it: "title", "about", "segments" ({"start", "end", "text"}, seconds)
and "typed" ([seconds, words]). People come from `data/recordings/humans_*`, so only the clips of synthetic voices
need an engine (SVOX Pico, unseen in training).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.clips import Audio
from tml_lab.worlds.humans import human_voices, recordings_dir
from tml_lab.worlds.voices import VoiceBank

NOISE_DBFS = -62.0  # of the room between the words: no recording is silent to the last bit


@dataclass(frozen=True)
class Script:
    """One clip: who says what when. `lines` are (start in seconds, text); `typed` likewise."""

    name: str
    title: str
    speaker: str
    lines: tuple[tuple[float, str], ...]
    typed: tuple[tuple[float, str], ...] = ()
    split: str = "test"
    about: str = field(default="")


_KNOWN = "A person whose voice was used in training; this order of words was not."
SCRIPTS = (
    Script(
        "repeat_numbers", "a woman says numbers: repeat them", "allison",
        ((2.0, "seven"), (3.8, "two"), (5.6, "nine"), (7.4, "four"), (9.2, "eleven")),
        ((0.4, "repeat every number you hear"),), "train",
        "A person whose voice was used in training; this order of words was not.",
    ),
    Script(
        "next_number", "a man on the telephone says numbers: say the next one", "dawson",
        ((2.0, "three"), (4.0, "eight"), (6.0, "one"), (8.0, "twelve"), (10.0, "five")),
        ((0.4, "say the next number after every number you hear"),), "human",
        "A person and a telephone line that were kept wholly out of training.",
    ),
    Script(
        "questions", "short questions", "pico/en-GB",
        ((0.6, "what is three plus four"), (4.6, "what colour is grass"),
         (8.6, "what day comes after monday"), (12.6, "what is the opposite of cold")),
        about="A speech engine that was kept wholly out of training.",
    ),
    Script(
        "tick_until_stop", "say tick every three seconds until i say stop", "pico/en-US",
        ((0.6, "say tick every three seconds until i say stop"), (13.0, "stop")),
        about="A speech engine that was kept wholly out of training.",
    ),
    Script(
        "woman_three_seven_two", "a woman says numbers", "kajongg-female1",
        ((1.0, "three"), (2.6, "seven"), (4.4, "two"), (6.1, "nine")), (), "train", _KNOWN,
    ),
    Script(
        "woman_with_pauses", "another woman, with long pauses", "kajongg-female2",
        ((0.8, "one"), (1.9, "five"), (5.6, "eight"), (8.7, "four")), (), "train", _KNOWN,
    ),
    Script(
        "man_counts", "a man counts", "k6gte",
        ((0.8, "one"), (1.9, "two"), (3.0, "three"), (4.1, "four"), (5.2, "five"), (6.3, "six")), (), "train", _KNOWN,
    ),
    Script(
        "man_large_numbers", "a man says larger numbers", "csmash",
        ((1.0, "eleven"), (3.2, "twenty"), (5.6, "fourteen"), (7.8, "twelve")), (), "train", _KNOWN,
    ),
    Script(
        "man_on_the_radio", "a radio amateur over a narrow channel", "codec2-vk5qi",
        ((1.0, "five"), (2.6, "three"), (4.2, "one"), (6.0, "four")), (), "train", _KNOWN,
    ),
    Script(
        "not_for_you", "a number, an announcement that is not for you, a number", "allison",
        ((0.8, "six"), (2.4, "your call cannot be completed as dialed"), (7.4, "nine")), (), "train", _KNOWN,
    ),
)  # fmt: skip


def render(script: Script, rng: np.random.Generator) -> tuple[Audio, list[dict]]:
    """The clip as f32 [n] at 16 kHz, with a trace of room noise, and where each line lies in it."""
    spoken = [(start, text, _say(script, text, rng)) for start, text in script.lines]
    last_start, _, last = spoken[-1]
    audio = np.zeros(round((last_start + 0.5) * SAMPLE_RATE) + len(last), np.float32)
    audio += rng.standard_normal(len(audio)).astype(np.float32) * np.float32(10 ** (NOISE_DBFS / 20))
    segments = []
    for start, text, clip in spoken:
        first = round(start * SAMPLE_RATE)
        audio[first : first + len(clip)] += clip
        segments.append({"start": start, "end": round(start + len(clip) / SAMPLE_RATE, 3), "text": text})
    return np.clip(audio, -1, 1), segments


def _say(script: Script, text: str, rng: np.random.Generator) -> Audio:
    if script.split in ("train", "human"):
        (person,) = [voice for voice in human_voices(script.split) if voice.name == script.speaker]
        return person.clip(text)
    bank = VoiceBank.open("test", quiet=True)
    return bank.say(text, bank.voice(script.speaker), rng)


def build(folder: Path, names: set[str]) -> None:
    """Write the clips called `names` into `folder`, every clip when that is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, script in enumerate(SCRIPTS):
        if names and script.name not in names:
            continue
        audio, segments = render(script, np.random.default_rng(seed))
        soundfile.write(folder / f"{script.name}.flac", audio, SAMPLE_RATE, subtype="PCM_16")
        about = {"title": script.title, "about": script.about, "speaker": script.speaker}
        index = about | {"segments": segments, "typed": [list(entry) for entry in script.typed]}
        (folder / f"{script.name}.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    build(recordings_dir() / "demo", set(sys.argv[1:]))
