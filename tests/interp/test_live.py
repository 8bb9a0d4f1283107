"""Readers on a running session say what the offline analyses say, and change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.interp.cache import Cache, InterpError
from tml_lab.interp.decision import decision_lens
from tml_lab.interp.edits import Steer, run_with_edits
from tml_lab.interp.live import Reader, along, attached, lens
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session


def live_session(cache: Cache, readers, edits=(), on_turn=None):
    session = Session(cache.model, cache.tokenizer, seed=cache.recording.seed)
    with attached(session, readers, edits, on_turn) as live:
        for turn in range(cache.turns):
            session.step(*cache.recording.inputs.turn(turn))
    return session.recording(), live


def test_live_lenses_are_the_offline_ones_and_the_session_is_the_same_to_the_bit(cache: Cache) -> None:
    direction = np.linspace(-1, 1, cache.model.cfg.d_model)
    readers = {f"lens {n}": lens(cache.model, cache.tokenizer, n) for n in range(3)}
    readers["probe"] = along(direction, 1, 0.5)
    told: list[int] = []
    recording, live = live_session(cache, readers, on_turn=lambda turn, said: told.append(turn))
    assert differences(recording, cache.recording) == []
    values = live.values()
    np.testing.assert_allclose(values.values[:3], decision_lens(cache), atol=1e-4)
    resid = cache["resid_post", 1][cache.decision_positions].numpy()
    np.testing.assert_allclose(values.sel(reader="probe"), resid @ direction + 0.5, atol=1e-4)
    assert told == list(range(cache.turns)) == values["turn"].values.tolist()
    assert values["t"].values[7] == pytest.approx(1.4)
    assert live.latest["lens 2"] == pytest.approx(float(values.values[2, -1]))


def test_steering_shows_in_the_readers(cache: Cache) -> None:
    edit = Steer(at="L0 resid_post of decision @t5..t12", vector=np.linspace(-1, 1, 64), strength=2.0)
    recording, live = live_session(cache, {"lens": lens(cache.model, cache.tokenizer, 2)}, [edit])
    offline = run_with_edits(cache.model, cache.tokenizer, recording, [edit], names=None)
    np.testing.assert_allclose(live.values().values[0], decision_lens(offline)[2], atol=1e-4)


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    session = Session(cache.model, cache.tokenizer)
    with pytest.raises(InterpError, match="no layer 7"), attached(session, {"x": Reader(7, float)}):
        pass
    with attached(session, {}) as live, pytest.raises(InterpError, match="no turn has been heard"):
        _ = live.latest
    assert session.observer is None
