"""What moves before the camera in each turn: answers for probes, from what a scene is drawn from, never from a model.

Where people stand and how their limbs lie is known to a scene frame by frame; see `tml_lab.worlds.seen.scene`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import VIDEO_FRAMES_PER_TURN
from tml_lab.interp.labels import Labels
from tml_lab.interp.names import InterpError

if TYPE_CHECKING:
    from tml_lab.worlds.stage import Episode

ENDS = slice(1, 5)  # of a shape's numbers: its middle or its two ends, in pixels of 160 x 120
MOVES = 1.0  # pixels a frame


def label_seen(episode: Episode) -> Labels:
    """Labels of each turn, arrays [turns]; a camera that sways moves none of them.

    - `moves` int64: 1 where the shapes move by MOVES pixels a frame or more, on average.
    - `far` float32: how far the pose is from the one it began with, 0..1 of the farthest; between 0 and 1 and back in
      each repetition.

    Raises InterpError for an episode without a camera.
    """
    if episode.scene is None:
        raise InterpError("an episode without a camera has nothing that moves: draw one of a family that sees.")
    ends = episode.scene.shapes[: VIDEO_FRAMES_PER_TURN * episode.n_turns, :, ENDS].astype(np.float64)
    ends -= ends.mean(1, keepdims=True)  # [frames, shapes, 4], without what moves all of them
    step = np.abs(np.diff(ends, axis=0, prepend=ends[:1])).mean((1, 2))  # [frames]
    far = np.abs(ends - ends[0]).mean((1, 2))
    far = far / max(float(far.max()), 1e-9)
    moves = step.reshape(-1, VIDEO_FRAMES_PER_TURN).mean(1) >= MOVES
    return {
        "moves": moves.astype(np.int64),
        "far": far.reshape(-1, VIDEO_FRAMES_PER_TURN).mean(1).astype(np.float32),
    }
