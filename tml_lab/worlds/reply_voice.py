"""The one clear voice the model answers in: what each reply word sounds like and how many turns it lasts.

The clips are committed (`data/voice/reply.flac`, and `reply_more.flac` with the words that came later), so that
neither training nor tests need a speech engine; `build_reply_voice` makes them. A word lasts a whole number of turns:
silence fills up its last one.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from tml_lab.config import TURN_SAMPLES
from tml_lab.signal.out_mel import normalise, out_mel

ASSET = Path(__file__).resolve().parents[2] / "data" / "voice" / "reply.flac"
MORE_ASSET = ASSET.with_name("reply_more.flac")
MAX_TURNS = 4
REBUILD = "run python -m tml_lab.worlds.build_reply_voice"


class ReplyVoiceError(ValueError):
    """A word the reply voice does not have, or a missing or damaged asset."""


@lru_cache(maxsize=1)
def _clips() -> dict[str, np.ndarray]:
    """Every word's sound, read once: word -> f32 `[k * 3200]`."""
    return _read(ASSET) | _read(MORE_ASSET)


def _read(asset: Path) -> dict[str, np.ndarray]:
    try:
        turns: dict[str, int] = json.loads(asset.with_suffix(".json").read_text())["turns"]
        sound, _ = soundfile.read(asset, dtype="float32")  # [total]
    except (OSError, soundfile.LibsndfileError) as error:
        raise ReplyVoiceError(f"the reply voice at {asset} cannot be read ({error}); {REBUILD}") from error
    if sum(turns.values()) * TURN_SAMPLES != len(sound):
        raise ReplyVoiceError(f"{asset} and its .json do not fit; {REBUILD}")
    sound.flags.writeable = False
    ends = np.cumsum(list(turns.values())) * TURN_SAMPLES  # [words]
    return {
        word: sound[end - k * TURN_SAMPLES : end] for (word, k), end in zip(turns.items(), ends, strict=True)
    }


def reply_words() -> tuple[str, ...]:
    """Every word the voice has, in alphabetical order."""
    return tuple(_clips())


def reply_audio(word: str) -> np.ndarray:
    """The sound of `word`: read-only f32 `[k * 3200]` at 16 kHz, in -1..1.

    Raises: ReplyVoiceError if the voice does not have the word.
    """
    clips = _clips()
    if word not in clips:
        raise ReplyVoiceError(
            f"the reply voice has no word {word!r}; add it to REPLY_WORDS in tml_lab/worlds/lexicon.py and "
            f"{REBUILD}"
        )
    return clips[word]


def reply_turns(word: str) -> int:
    """How many turns of 0.2 s the word lasts: 1..4. Raises ReplyVoiceError for an unknown word."""
    return len(reply_audio(word)) // TURN_SAMPLES


@cache
def reply_mel(word: str) -> Tensor:
    """The normalised output mel of `word` after silence: f32 `[16 * k, 80]`. Shared: do not write into it.

    Raises: ReplyVoiceError if the voice does not have the word.
    """
    return normalise(out_mel(torch.from_numpy(reply_audio(word).copy())))  # [16 k, 80]


@lru_cache(maxsize=1)
def silence_mel() -> Tensor:
    """One turn of normalised output mel of silence: f32 `[16, 80]`."""
    return normalise(out_mel(torch.zeros(TURN_SAMPLES)))  # [16, 80]
