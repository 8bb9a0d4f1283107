"""Exercises of notebooks/13_harness_or_model.ipynb."""

from __future__ import annotations

import random
from collections.abc import Sequence

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
from tml_lab.course.exercise import Exercise, Mistake


def _probabilities(seed: int) -> tuple[list[float]]:
    """None, the thresholds themselves, or a walk around them."""
    rng = random.Random(seed)
    if seed < 4:
        return ([[], [0.2, 0.4, 0.4], [0.4, 0.4, 0.6, 0.4], [0.5, 0.35, 0.34, 0.49]][seed],)
    return ([round(rng.uniform(0.2, 0.7), 2) for _ in range(rng.randint(1, 30))],)


def _with(probabilities: Sequence[float], on: float, off: float, begins: bool = False) -> list[bool]:
    found: list[bool] = []
    for p in probabilities:
        found.append(p >= (off if (found[-1] if found else begins) else on))
    return found


ch13_is_speech = Exercise(
    module="tml_lab.bench.baselines.endpointer",
    attribute="is_speech",
    cases=_probabilities,
    hints=(
        "Which threshold holds for a piece? It depends on the piece before it.",
        "After speech SPEECH_OFF holds, else SPEECH_ON; before the first piece there was no speech.",
        "Loop, keep the last answer in `on`: on = p >= (SPEECH_OFF if on else SPEECH_ON); append it.",
    ),
    mistakes=(
        Mistake(
            lambda probabilities: _with(probabilities, SPEECH_ON, SPEECH_OFF, begins=True),
            "before the first piece there was no speech: SPEECH_ON holds",
        ),
        Mistake(
            lambda probabilities: _with(probabilities, SPEECH_ON, SPEECH_ON),
            "one threshold flickers: after speech SPEECH_OFF is enough",
        ),
        Mistake(
            lambda probabilities: _with(probabilities, SPEECH_OFF, SPEECH_OFF),
            "speech begins at SPEECH_ON; SPEECH_OFF is for going on",
        ),
        Mistake(
            lambda probabilities: [p > SPEECH_ON or (p > SPEECH_OFF and q) for p, q in zip(
                probabilities, [False, *_with(probabilities, SPEECH_ON, SPEECH_OFF)], strict=False)],
            "a probability equal to the threshold counts",
        ),
    ),
)  # fmt: skip


def _speech(seed: int) -> tuple[list[bool], int, float]:
    """Runs of speech and silence of random lengths, in pieces of 32 ms."""
    rng = random.Random(seed)
    if seed == 0:
        return [], 0, 0.6
    if seed == 1:  # a long utterance, a long silence
        return [True] * 20 + [False] * 40, 9, 0.6
    if seed == 2:  # a click is no utterance
        return [False] * 5 + [True] * 2 + [False] * 40, 7, 0.6
    runs = [rng.randint(1, 30) for _ in range(rng.randint(2, 6))]
    speech = [bool((i + seed) % 2) for i, n in enumerate(runs) for _ in range(n)]
    return speech, max(1, len(speech) * CHUNK // TURN_SAMPLES), rng.choice([0.2, 0.4, 0.6])


def _follow(speech: Sequence[bool], turns: int, silence: float, once: bool = True, shortest: float = MIN_SPEECH,
            by_start: bool = False, clicks: bool = False) -> Endpoints:  # fmt: skip
    speaking, endpoint = [False] * turns, [False] * turns
    talking, voiced, unvoiced = False, 0, 0
    for i, above in enumerate(speech):
        voiced, unvoiced = (voiced + 1, 0) if above else (0, unvoiced + 1)
        sample = i * CHUNK if by_start else (i + 1) * CHUNK - 1
        turn = min(sample // TURN_SAMPLES, turns - 1)
        talking = talking or voiced * CHUNK_SECONDS >= (0.0 if clicks and above else shortest)
        ends = talking and unvoiced * CHUNK_SECONDS >= silence
        if once:
            talking = talking and not ends
        if turn >= 0:
            speaking[turn] = voiced * CHUNK_SECONDS >= shortest
            endpoint[turn] = endpoint[turn] or ends
    return Endpoints(tuple(speaking), tuple(endpoint))


ch13_follow = Exercise(
    module="tml_lab.bench.baselines.endpointer",
    attribute="follow",
    cases=_speech,
    hints=(
        "Two counters: pieces of the present run of speech, and of silence; each is set to 0 by the other kind.",
        "`talking` becomes true when a run of speech reaches MIN_SPEECH, and false again at the endpoint.",
        "turn = min(((i + 1) * CHUNK - 1) // TURN_SAMPLES, turns - 1); an endpoint in any piece marks its turn.",
    ),
    mistakes=(
        Mistake(
            lambda speech, turns, silence=ENDPOINT_SILENCE: _follow(speech, turns, silence, once=False),
            "an utterance ends once: after its endpoint nobody is talking until speech begins again",
        ),
        Mistake(
            lambda speech, turns, silence=ENDPOINT_SILENCE: _follow(speech, turns, silence, clicks=True),
            "a click is no utterance: speech must last MIN_SPEECH before it can end",
        ),
        Mistake(
            lambda speech, turns, silence=ENDPOINT_SILENCE: _follow(speech, turns, silence, by_start=True),
            "a piece belongs to the turn in which its last sample lies: before that it has not been heard",
        ),
    ),
)
