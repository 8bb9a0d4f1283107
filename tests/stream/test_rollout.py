"""Batched rollout: every row does what it would do alone."""

from __future__ import annotations

import numpy as np
import torch

from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.rollout import Heard, rollout
from tml_lab.worlds.episode import closed_world

TOKENIZER = TextTokenizer.build(closed_world())


def test_a_row_in_a_batch_does_what_it_does_alone() -> None:
    model = new_model("pico", TOKENIZER, seed=3).eval()
    rng = np.random.default_rng(0)
    inputs = [
        Heard((rng.normal(size=3200 * 8) * 0.1).astype(np.float32), [(1, "repeat every number")]),
        Heard((rng.normal(size=3200 * 8) * 0.3).astype(np.float32)),
        Heard(
            (rng.normal(size=3200 * 8) * 0.01).astype(np.float32),
            [(1, "stop"), (4, "what is two plus three")],
        ),
    ]
    pattern = torch.tensor(
        [[0, 1, 1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 1, 1, 0]]
    ).bool()
    together = rollout(model, TOKENIZER, inputs, decide=lambda turn, p: pattern[:, turn])
    for row, one in enumerate(inputs):
        alone = rollout(
            model, TOKENIZER, [one], decide=lambda turn, p, row=row: pattern[row : row + 1, turn]
        )[0]
        assert alone.speaks == together[row].speaks == pattern[row].tolist()
        assert alone.words == together[row].words
        np.testing.assert_allclose(alone.p_speak, together[row].p_speak, atol=1e-4)
