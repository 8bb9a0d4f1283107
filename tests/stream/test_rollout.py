"""Batched rollout: every row does what it would do alone."""

from __future__ import annotations

import numpy as np
import torch

from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.rollout import Heard, rollout
from tml_lab.stream.session import Session
from tml_lab.worlds.vocabulary import closed_world

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


def test_rows_with_a_camera_of_any_size_or_none_do_what_a_session_does() -> None:
    model = new_model("pico", TOKENIZER, seed=3).eval()
    rng = np.random.default_rng(1)

    def film(turns: int, height: int, width: int) -> np.ndarray:
        return rng.integers(0, 256, (turns, 2, height, width, 3), dtype=np.uint8)

    sound = [(rng.normal(size=3200 * 6) * 0.1).astype(np.float32) for _ in range(4)]
    films = [film(6, 120, 160), film(6, 80, 120), None, film(3, 120, 160)]  # the last camera is switched off
    inputs = [Heard(s, [(2, "count the squats")], f) for s, f in zip(sound, films, strict=True)]
    together = rollout(model, TOKENIZER, inputs)
    seen = []
    for one, run in zip(inputs, together, strict=True):
        session = Session(model, TOKENIZER, seed=0)
        for turn in range(6):
            frames = one.frames[turn] if one.frames is not None and turn < len(one.frames) else None
            text = "count the squats" if turn == 2 else None
            result = session.step(one.audio[turn * 3200 : (turn + 1) * 3200], frames, text)
            assert (result.decision == "<speak>") == run.speaks[turn]
            assert abs(result.p_speak - run.p_speak[turn]) < 1e-4
        seen.append(run.p_speak)
    blind = rollout(model, TOKENIZER, [Heard(sound[0], [(2, "count the squats")])])[0]
    assert not np.allclose(blind.p_speak, seen[0], atol=1e-4)  # pictures are not for nothing
