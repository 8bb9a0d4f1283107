"""Solutions of chapter 13's exercises; each stands where the stub stood."""

from __future__ import annotations

from tml_lab.bench.baselines.endpointer import (
    CHUNK,
    CHUNK_SECONDS,
    ENDPOINT_SILENCE,
    MIN_SPEECH,
    SPEECH_OFF,
    SPEECH_ON,
    Endpoints,
)
from tml_lab.config import TURN_SAMPLES


def is_speech(probabilities):
    on, found = False, []
    for p in probabilities:
        on = p >= (SPEECH_OFF if on else SPEECH_ON)
        found.append(on)
    return found


def follow(speech, turns, silence=ENDPOINT_SILENCE):
    speaking, endpoint = [False] * turns, [False] * turns
    start, spoke, over = 0, False, True  # where the present run began; whether there was speech that has not ended
    for i, above in enumerate(speech):
        if i == 0 or above != speech[i - 1]:
            start = i
        seconds = CHUNK_SECONDS * (i - start + 1)
        turn = min((CHUNK * (i + 1) - 1) // TURN_SAMPLES, turns - 1)
        if above and seconds >= MIN_SPEECH:
            spoke, over = True, False
        if not above and spoke and not over and seconds >= silence:
            over, spoke, endpoint[turn] = True, False, True
        speaking[turn] = above and seconds >= MIN_SPEECH
    return Endpoints(tuple(speaking), tuple(endpoint))
