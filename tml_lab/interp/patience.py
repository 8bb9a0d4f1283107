"""How patient the model is: how long it waits after a question, and whether it talks into the pauses before.

    patience(turns, turns.logit_difference)                                   as it is
    patience(turns, steered(turns, 5, [vector.values])[0])                    with a push

Patience alone is cheap: who never speaks breaks no pause. So the two numbers belong together, and with them the share
of questions after which there is a wish to speak at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.interp.kept_silent import first_wish
from tml_lab.interp.labels import GAPS
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet


@dataclass(frozen=True)
class Patience:
    """Over episodes of one question each.

    Args:
        median: seconds from the turn in which the words end to the first wish to speak; infinite where most have none.
        mean: the same, and an episode without a wish counts as long as it was listened to.
        wishes: share of the episodes with a wish after the end.
        broken: share of the episodes with a wish before the end: talked into.
    """

    median: float
    mean: float
    wishes: float
    broken: float

    def __str__(self) -> str:
        return f"median {self.median:.1f} s, mean {self.mean:.2f} s, wishes {self.wishes:.2f}, broken {self.broken:.2f}"


def patience(turns: TurnSet, logit_difference: np.ndarray) -> Patience:
    """Wait and broken pauses.

    Args:
        turns: whole episodes, the model kept silent; the first end of a question in each counts.
        logit_difference: [turns], `<speak>` less `<silent>`.

    Raises InterpError for an episode in which no question ends.
    """
    waits, capped, broken = [], [], []
    ends = turns.label("gap") == GAPS.index("end")
    for i in np.unique(turns.episode):
        mine = turns.episode == i
        if not ends[mine].any():
            raise InterpError(f"no question ends in episode {i}: its wait cannot be told.")
        wish, end = logit_difference[mine], int(ends[mine].argmax())
        found = first_wish(wish, end)
        waits.append(np.inf if found is None else (found - end) * TURN_SECONDS)
        capped.append(min(waits[-1], (len(wish) - end) * TURN_SECONDS))
        broken.append(bool((wish[:end] > 0).any()))
    wishes = float(np.isfinite(waits).mean())
    return Patience(float(np.median(waits)), float(np.mean(capped)), wishes, float(np.mean(broken)))
