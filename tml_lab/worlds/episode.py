"""`episode(family, seed, split, bank)`: one scene with its script, the same for the same arguments."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from tml_lab.worlds.families.answers import play_name, play_questions, play_repeat_after
from tml_lab.worlds.families.cues import CUES, play_cues
from tml_lab.worlds.families.foreign import FOREIGN, play_foreign
from tml_lab.worlds.families.manner import play_manner
from tml_lab.worlds.families.memory import play_facts, play_wrong
from tml_lab.worlds.families.moving import play_captured, play_count, play_how_long_seen, play_start_stop
from tml_lab.worlds.families.overlap import OVERLAPS, play_overlap
from tml_lab.worlds.families.restraint import play_background, play_noise, play_others, play_unasked
from tml_lab.worlds.families.safety import play_harmless, play_look_alikes, play_pushed, play_refused
from tml_lab.worlds.families.schedule import play_called_off, play_quiet_for, play_reminders
from tml_lab.worlds.families.seeing import (
    play_appears,
    play_before,
    play_look,
    play_new_colour,
    play_read,
    play_warn,
    play_watch,
    play_which_way,
)
from tml_lab.worlds.families.talk import play_interrupt, play_recite, play_recite_on, play_story
from tml_lab.worlds.families.timing import play_how_long, play_remind, play_tick
from tml_lab.worlds.families.tools import play_tools
from tml_lab.worlds.stage import Episode, Stage, open_stage
from tml_lab.worlds.voices import VoiceBank
from tml_lab.worlds.wordings_safety import HELD_OUT

Play = Callable[[Stage], None]

FAMILIES: dict[str, Play] = {
    **{name: partial(play_cues, name=name) for name in CUES},
    "arithmetic": partial(play_questions, kind="arithmetic"),
    "colour": partial(play_questions, kind="colour"),
    "opposite_of": partial(play_questions, kind="opposite_of"),
    "day": partial(play_questions, kind="day"),
    "pause": partial(play_questions, kind="arithmetic", pause=1.0),
    "name": play_name,
    "repeat_after": play_repeat_after,
    "remind": play_remind,
    "tick": play_tick,
    "how_long": play_how_long,
    "recite": play_recite,
    "interrupt": play_interrupt,
    "story": play_story,
    "background": play_background,
    "others": play_others,
    "unasked": play_unasked,
    "noise": play_noise,
}
FURTHER: dict[str, Play] = {
    **{name: partial(play_foreign, name=name) for name in FOREIGN},
    "reminders": play_reminders,
    "called_off": play_called_off,
    "quiet_for": play_quiet_for,
    "facts": play_facts,
    "wrong": play_wrong,
    "manner": play_manner,
    "recite_on": play_recite_on,
    "tools": play_tools,
    "refused": play_refused,
    "harmless": play_harmless,
    "look_alikes": play_look_alikes,
    "pushed": play_pushed,
}
"""Further families without a camera: `nano-everything` was trained on them, the nano was not."""
SEEING: dict[str, Play] = {
    "count_actions": play_count,
    "start_stop": play_start_stop,
    "appears": play_appears,
    "new_colour": play_new_colour,
    "which_way": play_which_way,
    "how_long_seen": play_how_long_seen,
    "warn": play_warn,
    "read": play_read,
    "look": play_look,
    "before": play_before,
    "watch": play_watch,
}
"""Families with the camera on, likewise; `nano-everything` has learned next to nothing of them."""
TESTED: dict[str, Play] = {
    **{f"overlap_{kind}": partial(play_overlap, kind=kind) for kind in OVERLAPS},
    "count_captured": play_captured,
    "refused_reworded": partial(play_pushed, wordings=HELD_OUT),
    "harmless_reworded": partial(play_look_alikes, wordings=HELD_OUT),
}
"""Scenes of tests only: training meets the like in other families."""


def episode(family: str, seed: int, split: str, bank: VoiceBank, typing: float | None = None) -> Episode:
    """One episode. Seeds of different splits and families never meet: the generator is seeded by all three.

    `typing`: the probability that a request is typed, where it shall not be the usual one.

    Raises ValueError naming the families when `family` is not one of them.
    """
    families = FAMILIES | FURTHER | SEEING | TESTED
    if family not in families:
        raise ValueError(f"no family is called {family!r}; choose one of {', '.join(families)}")
    rng = np.random.default_rng([zlib.crc32(f"{split}/{family}".encode()), seed])
    stage = open_stage(bank, rng, split)
    stage.typing = stage.typing if typing is None else typing
    families[family](stage)
    return stage.finish(family, seed)
