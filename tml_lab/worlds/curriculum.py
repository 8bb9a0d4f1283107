"""What is met in training, and how often: lessons, and the scenes drawn for them."""

from __future__ import annotations

import zlib

import numpy as np

from tml_lab.worlds.episode import FAMILIES, FURTHER, SEEING
from tml_lab.worlds.families.cues import CUES
from tml_lab.worlds.families.hearing import ASKING, DICTATION, play_asking, play_dictation
from tml_lab.worlds.spoiled import Spoiling, spoil
from tml_lab.worlds.stage import Episode, Stage, open_easy_stage, open_stage
from tml_lab.worlds.voices import VoiceBank

# How often each is met in training: numbers carry the hardest hearing; sums and seconds are the slowest to learn.
# Dictation is met in training only.
WEIGHTS: dict[str, float] = {
    "repeat_numbers": 5.0, "next_number": 5.2, "opposite": 6.6, "to_english": 2.4, "to_spanish": 2.6, "arithmetic": 5.0,
    "colour": 1.2, "opposite_of": 1.8, "day": 1.6, "pause": 1.8, "name": 2.4, "repeat_after": 1.8, "remind": 4.5,
    "tick": 3.4, "how_long": 5.0, "recite": 0.8, "interrupt": 2.8, "story": 0.7, "background": 2.4, "others": 3.6,
    "unasked": 1.9, "noise": 0.3, DICTATION: 14.0,
}  # fmt: skip
FURTHER_WEIGHTS: dict[str, float] = {
    "french": 2.0, "german": 2.0, "italian": 2.0, "reminders": 4.0, "called_off": 2.5, "quiet_for": 1.5, "facts": 5.0,
    "wrong": 5.0, "manner": 4.5, "recite_on": 0.8, "tools": 5.0, "refused": 2.5, "harmless": 1.5,
    "look_alikes": 2.0, "pushed": 1.5,
}  # fmt: skip
SEEING_WEIGHTS: dict[str, float] = {
    "count_actions": 4.5, "start_stop": 3.0, "appears": 3.5, "new_colour": 2.5, "which_way": 2.0, "how_long_seen": 1.5,
    "warn": 2.0, "read": 2.5, "look": 4.5, "before": 1.5, "watch": 1.5,
}  # fmt: skip
# Beside all the others time is learned too slowly: more of it, and less of what hearing has learned.
IN_EVERYTHING: dict[str, float] = {"remind": 6.0, "tick": 4.5, "how_long": 5.5, DICTATION: 10.0}

# How often each is met where seeing begins: what happens to things and what people do, before questions and writing.
FIRST_SIGHT_WEIGHTS: dict[str, float] = {
    "appears": 4.0, "new_colour": 2.0, "which_way": 1.5, "warn": 2.5, "watch": 1.5, "count_actions": 3.0,
    "start_stop": 1.5,
}  # fmt: skip
# Then what is asked aloud, and besides what is written and questions. Requests in many voices are training's only.
SECOND_SIGHT_WEIGHTS: dict[str, float] = {
    "appears": 3.5, "new_colour": 1.5, "which_way": 1.2, "warn": 2.5, "watch": 1.5, "count_actions": 5.0,
    "start_stop": 3.0, "how_long_seen": 0.7, "read": 3.5, "look": 3.5, "before": 1.0, ASKING: 30.0,
}  # fmt: skip
# All that is seen, asked for in writing: what two cores can teach in an hour or two.
TYPED_SIGHT_WEIGHTS: dict[str, float] = {
    "appears": 4.0, "new_colour": 2.5, "which_way": 1.5, "warn": 1.5, "watch": 1.5, "count_actions": 3.5,
    "start_stop": 2.5, "read": 2.0, "look": 2.5, "before": 0.5,
}  # fmt: skip
GLIMPSES = "glimpses"  # of the same scenes a few turns each are kept, and only the eyes learn from them
# Dictation of requests and of nothing else, before scenes whose requests are spoken: 146 words a minute in place of 21,
# for a third of the positions. In three quarters of an hour of scenes a model's listening head had learned next to
# nothing (4.1 nats a word for 4.4); in three minutes of these, .6. First by few voices on a clean line, then by all.
# Scenes must stay in the mixture: after eight minutes of dictation alone seeing was forgotten.
EASY_REQUESTS, REQUESTS = "easy_requests", "requests"
EASY = {"easy", EASY_REQUESTS}  # lessons with few voices, one accent and a clean line
# Lessons of what is seen, or asked of it, and of nothing else: how many of their requests are typed.
TYPED = {
    GLIMPSES: 0.45, "first_sight": 1.0, "second_sight": 0.45, "typed_sight": 1.0, EASY_REQUESTS: 0.0, REQUESTS: 0.0,
}  # fmt: skip

QUIET = 0.5  # share of a lesson's scenes in which there is little but what is seen

# The order of learning: numbers and time first, where hearing a word right is most of the task; then everything.
LESSONS: dict[str, dict[str, float]] = {
    "easy": {
        "repeat_numbers": 5.0, "next_number": 2.5, "remind": 1.2, "tick": 1.2, "arithmetic": 1.0, "opposite": 2.0,
        "repeat_after": 1.5, "unasked": 1.5, "others": 0.6, "background": 0.4, "noise": 0.2,
    },
    "all": WEIGHTS,
    "further": FURTHER_WEIGHTS,
    "first_sight": FIRST_SIGHT_WEIGHTS,
    "second_sight": SECOND_SIGHT_WEIGHTS,
    "typed_sight": TYPED_SIGHT_WEIGHTS,
    EASY_REQUESTS: {ASKING: 1.0},
    REQUESTS: {ASKING: 1.0},
    GLIMPSES: {family: weight for family, weight in SECOND_SIGHT_WEIGHTS.items() if family != ASKING},
    "seeing": SEEING_WEIGHTS,
    "everything": WEIGHTS | FURTHER_WEIGHTS | SEEING_WEIGHTS | IN_EVERYTHING,
}  # fmt: skip
# Lessons in which the line is bad now and then, and the own voice comes back.
SPOILED: dict[str, Spoiling] = {"everything": Spoiling()}


def training_episode(seed: int, bank: VoiceBank, lesson: str = "all") -> Episode:
    """An episode of a lesson, spoiled where the lesson says so: then the same one as without, over a bad line."""
    drawn = _training_episode(seed, bank, lesson)
    if lesson not in SPOILED:
        return drawn
    return spoil(drawn, np.random.default_rng([zlib.crc32(b"spoiled"), seed]), SPOILED[lesson])


def _training_episode(seed: int, bank: VoiceBank, lesson: str) -> Episode:
    """An episode of a family drawn by the lesson's weights; one in five goes on into a second family after "stop".

    The easy lesson has few voices, one accent and a clean line: hearing is learned there, then hardened. In the other
    one line in three is clean. Less time is left between things than in a test, so that an hour holds more of them,
    and now and then there is a long lull.
    """
    rng = np.random.default_rng([zlib.crc32(b"mixture" if lesson == "all" else lesson.encode()), seed])
    names, weights = list(LESSONS[lesson]), np.array(list(LESSONS[lesson].values()))
    clean = lesson in EASY or rng.uniform() < 1 / 3
    first, second = (str(name) for name in rng.choice(names, 2, p=weights / weights.sum()))
    stage = open_easy_stage(bank, rng) if lesson in EASY else open_stage(bank, rng, "train")
    if first == ASKING:
        play_asking(stage)
        return stage.finish(DICTATION, seed, noisy=not clean)
    if lesson in TYPED or (first in SEEING and stage.chance(QUIET)):
        return _little_beside(stage, first, seed, TYPED.get(lesson, 1.0))
    stage.pace = float(rng.uniform(0.4, 1.0))
    stage.lull, stage.again = 0.35, 2
    if rng.uniform() < 0.4:  # what is typed costs few turns and is read without doubt: facts are learned there
        stage.typing = 0.9
    if first == DICTATION:
        play_dictation(stage)
        return stage.finish(first, seed, noisy=not clean)
    if first not in FAMILIES:
        (FURTHER | SEEING)[first](stage)
        return stage.finish(first, seed, noisy=not clean)
    FAMILIES[first](stage)
    if second in FAMILIES and stage.chance(0.2) and stage.now < 10.0:
        stage.after_reply(0.4, 1.0)
        if first in CUES:
            stage.ask("stop")
            stage.wait(0.6, 1.0)
        FAMILIES[second](stage)
        return stage.finish(f"{first}+{second}", seed, noisy=not clean)
    return stage.finish(first, seed, noisy=not clean)


def _little_beside(stage: Stage, name: str, seed: int, typing: float) -> Episode:
    """A scene in which there is little but what is seen: a request, mostly nobody who talks, few things happen.

    `typing`: the probability that the request is typed. Where a model that hears is to learn to see, it has to find out
    that pictures matter at all: amid talk, and before backdrops that move, it did not.
    """
    stage.pace, stage.typing, stage.lull, stage.again = float(stage.rng.uniform(0.3, 0.7)), typing, 0.1, 1
    stage.quiet = stage.chance(0.75)
    SEEING[name](stage)
    stage.watch().plain = stage.chance(0.5)
    return stage.finish(name, seed, tail=0.4, noisy=stage.chance(0.4))
