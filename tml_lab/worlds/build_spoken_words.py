"""Make `data/recordings/words_train` and `words_heldout`: single words by the engines of both splits.

    python -m tml_lab.worlds.build_spoken_words

Needs espeak-ng and flite for training, and SVOX Pico and festival besides for the held-out side (`data/SOURCES.md`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tml_lab.worlds.build_humans import write
from tml_lab.worlds.human_sources import Source, Take, person
from tml_lab.worlds.humans import recordings_dir
from tml_lab.worlds.spoken_words import FOLDERS, WORDS
from tml_lab.worlds.voices import Voice, VoiceBank

ODD = ("whisper", "croak", "Demonic", "UniRobot", "robosoft", "Anxious", "Tweaky", "announcer", "fast", "klatt")
AUTHORS = {"train": "espeak-ng, flite (CMU)", "test": "espeak-ng, SVOX Pico, festival (CMU, CSTR)"}


def speakers(split: Literal["train", "test"]) -> list[Voice]:
    """All held-out voices; of training's flite's three and every second of espeak's that are not odd."""
    voices = [v for v in VoiceBank.open(split).voices if v.kind == "synthetic"]
    if split == "test":
        return voices
    plain = [v for v in voices if v.engine == "espeak" and not any(odd in v.name for odd in ODD)]
    return [*plain[::2], *(v for v in voices if v.engine == "flite")]


def main() -> None:
    """Write both packages."""
    for split in ("train", "test"):
        bank, voices = VoiceBank.open(split), speakers(split)

        def takes(_: Path, bank: VoiceBank = bank, voices: list[Voice] = voices) -> Iterator[Take]:
            for voice in voices:
                for word in WORDS:
                    yield Take(voice.name, word, bank.say(word, voice, None), trim=False)

        about = {voice.name: person({"female": "f", "male": "m"}.get(voice.sex or ""), "studio") for voice in voices}
        folder = FOLDERS[split]
        source = Source(
            f"words-{split}", "engines", "1", "free: synthetic speech", AUTHORS[split], split, folder, about, takes,
            squeeze=0.8,
        )  # fmt: skip
        seconds = write(source, takes(Path()), recordings_dir() / folder)
        print(f"{folder}: {len(voices)} voices, {seconds:.0f} s")


if __name__ == "__main__":
    main()
