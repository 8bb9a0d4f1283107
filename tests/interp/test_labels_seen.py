"""What moves before the camera, by hand, and what a comparison of frames makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.interp.sets_by_hand import noise_episode
from tml_lab.config import PATCH
from tml_lab.interp.baselines import picture_change
from tml_lab.interp.labels_seen import label_seen
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet, collect
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session
from tml_lab.worlds.seen.scene import Script


def test_what_moves_and_how_far() -> None:
    """Two shapes, one of which goes twenty pixels away in turn 3 and comes back in turn 5; the camera sways."""
    shapes = np.zeros((28, 2, 11), np.float16)
    shapes[6:11, 0, 1] = 20
    shapes[:, :, 1:5] += np.arange(28)[:, None, None]
    labels = label_seen(replace(noise_episode(0), scene=Script(shapes, 0)))
    assert labels["moves"].tolist() == [int(turn in (3, 5)) for turn in range(14)]
    np.testing.assert_allclose(labels["far"], [0, 0, 0, 1, 1, 0.5, *[0] * 8], atol=1e-3)
    with pytest.raises(InterpError, match="without a camera"):
        label_seen(noise_episode(0))


def test_the_patch_that_changes(model: InteractionModel, session: Session) -> None:
    turns = collect(model, session.tokenizer, [noise_episode(0), noise_episode(1)], layers=[0])
    films = [np.zeros((14, 2, 2 * PATCH, 3 * PATCH, 3), np.uint8) for _ in range(2)]
    films[1][4, 1, :PATCH, PATCH : 2 * PATCH] = 90  # the second frame of turn 4, in the second patch; gone in turn 5
    filmed = [
        replace(one, inputs=replace(one.inputs, frames=list(film)))
        for one, film in zip(turns.recordings, films, strict=True)
    ]
    told: TurnSet = replace(turns, recordings=tuple(filmed))
    change = picture_change(told)
    assert change.shape == (28, 12)
    assert np.argwhere(change > 0).tolist() == [[18, 7], [19, 1]] and change.max() == pytest.approx(90)
    np.testing.assert_array_equal(picture_change(told.where(told.turn == 4)), change[[4, 18]])
    with pytest.raises(InterpError, match="no pictures"):
        picture_change(turns)
