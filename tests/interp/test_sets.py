"""Sets of turns: what they hold, how they split, episodes moved in time and turns in pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.interp.sets_by_hand import TURNS, noise_episode
from tml_lab.interp.baselines import loudness, turn_number
from tml_lab.interp.cache import run_with_cache
from tml_lab.interp.decision import decision
from tml_lab.interp.kept_silent import first_wish, kept_silent
from tml_lab.interp.labels import asked_at
from tml_lab.interp.matching import delayed, matched
from tml_lab.interp.names import EMBED, InterpError
from tml_lab.interp.onward import decide_onward, logits_onward, resid_of
from tml_lab.interp.sets import TurnSet, collect
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.session import Session


@pytest.fixture(scope="module")
def tokenizer(session: Session) -> TextTokenizer:
    return session.tokenizer


@pytest.fixture(scope="module")
def turns(model: InteractionModel, tokenizer: TextTokenizer) -> TurnSet:
    episodes = [noise_episode(seed, "pause" if seed % 2 else "remind") for seed in range(6)]
    return collect(model, tokenizer, episodes, layers=[0, 1])


def test_rows_are_those_of_the_cache(turns: TurnSet, model: InteractionModel, tokenizer: TextTokenizer) -> None:
    assert len(turns) == 6 * TURNS
    cache = run_with_cache(model, tokenizer, turns.recordings[2])
    mine = turns.episode == 2
    assert torch.equal(torch.from_numpy(turns.resid[1][mine]), cache["resid_post", 1][cache.decision_positions])
    np.testing.assert_array_equal(turns.logit_difference[mine], decision(cache).logit_difference)
    heard = np.flatnonzero((cache.tokens.turn == 4) & np.isin(cache.tokens.stream, [0, 1, 2]))  # typed and heard
    assert len(heard) == 6
    np.testing.assert_allclose(turns.embed[mine][4], cache[EMBED][heard].mean(0), atol=1e-5)


def test_a_split_keeps_episodes_whole_and_families_on_both_sides(turns: TurnSet) -> None:
    train, test = turns.split(share=0.34)
    assert not set(train.episode) & set(test.episode) and len(train) + len(test) == len(turns)
    assert {turns.families[i] for i in test.episode} == {"pause", "remind"}
    assert turns.split(seed=3)[1].episode.tolist() != turns.split(seed=4)[1].episode.tolist()


def test_what_cannot_be_is_said(turns: TurnSet, model: InteractionModel, tokenizer: TextTokenizer) -> None:
    with pytest.raises(InterpError, match="no label is called 'mood'; there are count"):
        turns.label("mood")
    with pytest.raises(InterpError, match="layer 5 was not collected; there are 0, 1"):
        turns.at_layer(5)
    with pytest.raises(InterpError, match="none of the 84 turns"):
        turns.where(np.zeros(len(turns), bool))
    with pytest.raises(InterpError, match="1 episodes are too few"):
        turns.where(turns.episode == 0).split()
    with pytest.raises(InterpError, match="got 0 and no recordings"):
        collect(model, tokenizer, [])
    with pytest.raises(InterpError, match="3 values for 84 turns"):
        turns.with_label("x", np.zeros(3))


def test_kept_silent_it_lays_out_what_a_session_would(model: InteractionModel, tokenizer: TextTokenizer) -> None:
    recording = kept_silent(tokenizer, noise_episode(0))
    assert set(recording.decisions) == {"<silent>"} and len(recording.tokens) == TURNS * 5 + 2
    quiet = Session(model, tokenizer)
    for n in range(3):
        quiet.step(*recording.inputs.turn(n))
    if set(quiet.recording().decisions) == {"<silent>"}:
        np.testing.assert_array_equal(quiet.recording().tokens.stream, recording.tokens.stream[:15])
    wish = decision(run_with_cache(model, tokenizer, recording, [])).logit_difference
    found = first_wish(wish)
    assert found is None or (wish[found] > 0 and (wish[:found] <= 0).all())
    assert first_wish(np.array([1.0, -1.0, 2.0]), after=1) == 2 and first_wish(np.array([-1.0])) is None


def test_onward_without_a_change_is_the_models_own(turns: TurnSet, model: InteractionModel) -> None:
    cache = resid_of(model, turns.tokenizer, turns.recordings[0], 0)
    x = cache["resid_post", 0]
    own = cache.logits[torch.as_tensor(cache.decision_positions)]
    torch.testing.assert_close(logits_onward(cache, 0, x[None])[0], own, atol=1e-4, rtol=1e-4)
    push = torch.full((model.cfg.d_model,), 0.5)
    late = torch.zeros(cache.turns, model.cfg.d_model)
    late[8:] = push
    none, at_decisions, all_over, from_8 = (
        *decide_onward(cache, 0, [torch.zeros(model.cfg.d_model), push]),
        *decide_onward(cache, 0, [push], everywhere=True),
        *decide_onward(cache, 0, [late]),
    )
    assert not torch.allclose(none, at_decisions) and not torch.allclose(at_decisions, all_over)
    torch.testing.assert_close(from_8[:8], none[:8])  # the past is not changed
    assert not torch.allclose(from_8[8:], none[8:])


def test_a_delayed_episode_is_the_same_later() -> None:
    before, after = noise_episode(1), delayed(noise_episode(1), 7)
    assert after.n_turns == before.n_turns + 7 and after.typed == [(11, "remind me")]
    np.testing.assert_array_equal(after.audio[-len(before.audio) :], before.audio)
    assert asked_at(after) == pytest.approx([asked_at(before)[0] + 1.4])
    assert after.segments[0].start == pytest.approx(2.0) and before.segments[0].start == 0.6
    with pytest.raises(InterpError, match="camera"):
        delayed(replace(before, scene=object()), 1)  # type: ignore[arg-type]


def test_pairs_are_alike_in_what_they_are_paired_on(turns: TurnSet) -> None:
    one, other = turns.turn % 2 == 0, turns.turn % 2 == 1
    values = np.where(turns.turn < 3, np.nan, turns.turn / 10).astype(np.float32)
    mask = matched(turns.with_label("late", values), one, other, "late", 0.11)
    assert (mask & one).sum() == (mask & other).sum() > 10 and not mask[turns.turn < 3].any()
    with pytest.raises(InterpError, match="no two turns"):
        matched(turns.with_label("late", values), one, other, "late", 0.01)


def test_baselines_come_from_the_input_alone(turns: TurnSet) -> None:
    loud = loudness(turns, history=2)
    assert loud.shape == (len(turns), 8) and loud.min() >= 0 and loud.max() <= 1
    assert loud[turns.turn == 4].mean() > loud[turns.turn == 11].mean() + 0.1  # words, and quiet
    assert (loud[turns.turn == 0][:, :4] == 0).all() and (loud[turns.turn == 0][:, 4:] > 0).any()
    assert turn_number(turns).shape == (len(turns), 13)
