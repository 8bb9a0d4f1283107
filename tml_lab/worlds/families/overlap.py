"""Something is heard while the model recites: a question that is meant for it, or something that is not.

The four scenarios of Full-Duplex-Bench v1.5 (Lin et al. 2025), one in a scene, and the recital alone to compare with.
"""

from __future__ import annotations

import math

from tml_lab.config import TURN_SECONDS
from tml_lab.worlds.families.answers import KINDS
from tml_lab.worlds.families.restraint import question_text
from tml_lab.worlds.families.talk import GIVE_WAY, start_reciting
from tml_lab.worlds.lexicon import FILLER_SENTENCES, LEAD, OTHERS
from tml_lab.worlds.stage import SETTLED, Stage
from tml_lab.worlds.wordings import ADDRESSED, ASIDES, BACKCHANNELS_OF_USER

OVERLAPS = ("none", "interruption", "backchannel", "to_others", "background")


def play_overlap(stage: Stage, kind: str) -> None:
    """The model recites; from one to one and a half seconds on, `kind` is heard.

    At an interruption the list ends and the question is answered; otherwise the list is said to its end.
    """
    start, over = start_reciting(stage)
    stage.now = start + float(stage.rng.uniform(1.0, 1.5))
    if kind == "interruption":
        stage.expects.clear()
        text, answer, contrast = KINDS[stage.pick(("arithmetic", "colour", "opposite_of"))](stage)
        segment = stage.say(text)
        stage.hush(math.ceil((segment.start + GIVE_WAY) / TURN_SECONDS) - 1)
        stage.reply((answer,), segment.end, "answer", margin=SETTLED, contrast=contrast, lead=LEAD)
        stage.after_reply(0.4, 1.0)
        return
    if kind == "backchannel":
        stage.say(stage.pick(BACKCHANNELS_OF_USER))
    elif kind == "to_others":
        stage.say(stage.pick(ADDRESSED).format(who=stage.pick(OTHERS), q=stage.pick(ASIDES)))
    elif kind == "background":
        stage.elsewhere(question_text(stage) if stage.chance(0.5) else stage.pick(FILLER_SENTENCES), stage.now)
    stage.now = over
    stage.wait(0.4, 1.0)
