"""Replies that come late: a model that did not begin when it was due must know that it is due still.

Where every reply of training begins in its turn, no turn is ever met in which something has happened, nothing was said
of it and it is time all the same: whoever misses the turn stays silent for good. So some replies are given later than
they are due, and in each turn until then the right decision is to begin, though what is fed back is that it did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tml_lab.train.shards import Rendered
from tml_lab.worlds.reply_voice import reply_turns

Spoken = tuple[int, str, int]  # turn, word, how many turns into the word

MOST = 3  # turns that a reply may be late
LONG = 8  # turns: whoever speaks for longer gives a recital, which others break off
# Scenes in which a reply that is late is wrong: somebody said stop meanwhile, asked for quiet, or goes on with a story.
NEVER_LATE = {"interrupt", "recite", "recite_on", "story", "quiet_for", "called_off"}


def replies(speaking: Sequence[Spoken]) -> list[list[Spoken]]:
    """What is said turn upon turn without a break, in order."""
    runs: list[list[Spoken]] = []
    for said in sorted(speaking):
        if runs and said[0] == runs[-1][-1][0] + 1:
            runs[-1].append(said)
        else:
            runs.append([said])
    return runs


def may_be_late(reply: Sequence[Spoken]) -> bool:
    """Whether a reply is short, and ends because it is over and not because somebody broke it off."""
    _, word, k = reply[-1]
    return len(reply) <= LONG and reply[0][2] == 0 and k == reply_turns(word) - 1


def put_off(episode: Rendered, share: float, rng: np.random.Generator) -> Rendered:
    """The same scene with a `share` of its replies one to `MOST` turns later; `missed` then has the turns in which they
    were due and did not begin.

    No reply is put off beyond the next one or the end of the scene, and none in scenes where being late is wrong
    (`NEVER_LATE`, or two scenes in one).
    """
    if share <= 0.0 or episode.family in NEVER_LATE or "+" in episode.family:
        return episode
    runs = replies(episode.speaking)
    ends = [*(run[0][0] for run in runs[1:]), episode.n_turns]  # the first turn that is not free any more
    speaking, missed = [], []
    for run, end in zip(runs, ends, strict=False):
        room = min(MOST, end - 1 - run[-1][0])
        by = int(rng.integers(1, room + 1)) if room > 0 and may_be_late(run) and rng.uniform() < share else 0
        speaking += [(turn + by, word, k) for turn, word, k in run]
        missed += range(run[0][0], run[0][0] + by)
    return replace(episode, speaking=speaking, missed=missed)
