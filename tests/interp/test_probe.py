"""Probes on planted directions, their controls, and what pushing them does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.interp.sets_by_hand import noise_episode, planted
from tml_lab.interp.causal import check_cause, pattern_of, random_directions
from tml_lab.interp.decision import decision
from tml_lab.interp.edits import run_with_edits
from tml_lab.interp.linear import fit, goodness, score
from tml_lab.interp.names import InterpError
from tml_lab.interp.onward import decide_onward, resid_of
from tml_lab.interp.probe import Probe, control_labels, fit_probe, fit_probes
from tml_lab.interp.sets import TurnSet, collect
from tml_lab.interp.steering import dose_response, mean_difference
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session

QUICK = {"n_random": 2, "recordings": 1}


@pytest.fixture(scope="module")
def turns(model: InteractionModel, session: Session) -> TurnSet:
    return collect(model, session.tokenizer, [noise_episode(seed) for seed in range(8)], layers=[0, 1])


@pytest.fixture(scope="module")
def direction(model: InteractionModel) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(model.cfg.d_model).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_planted_number_is_found_where_it_lies(turns: TurnSet, direction: np.ndarray) -> None:
    values = np.random.default_rng(0).standard_normal(len(turns)).astype(np.float32)
    told = planted(turns, values, direction, layer=1).with_label("hidden", values)
    probe = fit_probe(told, "hidden", 1, **QUICK)
    assert probe.score.value > 0.95 and probe.score.low > 0.9
    assert cosine(probe.direction, direction) > 0.98
    assert abs(probe.direction @ probe.readout.weight[:, 0] - 1) < 1e-3  # pushed by it, the reading rises by one
    assert max(probe.control.value, probe.baselines["embedding"].value, probe.baselines["turn number"].value) < 0.3
    assert probe.selectivity > 0.7
    assert "control task" in str(probe) and "random" in str(probe)


def test_planted_classes_are_found_and_absent_ones_are_not(turns: TurnSet, direction: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 3, len(turns))
    told = planted(turns, kinds - 1.0, direction, layer=1).with_label("kind", kinds)
    probes = fit_probes(told, "kind", toward=0, **QUICK)  # type: ignore[arg-type]
    assert sorted(probes) == [0, 1]
    assert probes[1].score.value > 0.9 and probes[1].toward == 0
    assert probes[0].score.value < 0.6  # chance is 1/3
    assert cosine(probes[1].direction, -direction) > 0.9


def test_a_probe_cannot_be_had_without_its_controls(turns: TurnSet) -> None:
    whole = fit_probe(turns, "since_asked", 1, **QUICK)  # type: ignore[arg-type]
    for missing in ({"control": None}, {"causal": None}, {"baselines": {"embedding": whole.score}}):
        with pytest.raises(InterpError, match="use fit_probe"):
            replace(whole, **missing)
    with pytest.raises(TypeError):
        Probe("since_asked", 1, whole.readout, None, whole.score)  # type: ignore[call-arg]


def test_bad_questions_are_refused(turns: TurnSet) -> None:
    with pytest.raises(InterpError, match="no label is called"):
        fit_probe(turns, "mood", 1)
    with pytest.raises(InterpError, match="one value in all these"):
        fit_probe(turns.with_label("same", np.ones(len(turns), int)), "same", 1)
    with pytest.raises(InterpError, match="one side of the split"):
        fit_probe(turns.with_label("mine", (turns.episode == 0).astype(int)), "mine", 1)
    with pytest.raises(InterpError, match="no class 9"):
        fit_probe(turns.with_label("odd", turns.turn % 2), "odd", 1, toward=9)


def test_control_labels_depend_on_the_type_alone() -> None:
    types = np.array([4, 1, 4, 2, 1, 1])
    labels = control_labels(np.array([0.0, 1.0, 2.0, 3.0]), types, seed=0)
    assert labels[0] == labels[2] and labels[1] == labels[4] == labels[5]


def test_the_check_sees_a_direction_that_decides(turns: TurnSet) -> None:
    """Pushed along what the unembedding reads, decisions turn; along a direction it does not read, they stay."""
    model = turns.model
    rows = [turns.tokenizer.id(name) for name in ("<speak>", "<silent>")]
    decides = (model.unembed.weight[rows[0]] - model.unembed.weight[rows[1]]) * model.backbone.norm.weight
    decides = (decides / decides.norm()).numpy()
    seen = turns.at_layer(1)
    weight = decides / float((seen @ decides).std())
    check = check_cause(turns, 1, weight.astype(np.float32), seen, strengths=(-2.0, 2.0), n_random=3, recordings=2)
    assert check.slope > 0.5 and check.turns == 28
    assert check.changed[1] > 0.2 and (check.shift[0] < 0 < check.shift[1])
    assert check.erased > 0 and check.random_erased.shape == (3,) and check.changed.shape == (2,)
    blind = np.random.default_rng(0).standard_normal(len(decides))
    blind = (blind - blind @ decides * decides).astype(np.float32)  # across what decides
    spread = np.eye(len(decides), dtype=np.float32)
    across = check_cause(turns, 1, blind, np.concatenate([spread, -spread]), n_random=1, recordings=2)
    assert abs(across.slope) < 0.1 * check.slope
    cache = resid_of(model, turns.tokenizer, turns.recordings[0], 1)
    push = 2 * pattern_of(seen, weight.astype(np.float32)) * float((seen @ weight).std())
    by_hand = decide_onward(cache, 1, [torch.zeros(len(push)), torch.from_numpy(push.astype(np.float32))])
    one = check_cause(turns, 1, weight.astype(np.float32), seen, strengths=(-2.0, 2.0), n_random=1, recordings=1)
    assert one.shift[1] == pytest.approx(float((by_hand[1] - by_hand[0]).mean()), abs=1e-3)


def test_random_directions_lie_where_the_stream_lies() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6)) * np.array([5.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    found = random_directions(x, 3.0, 40, seed=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 3.0, rtol=1e-5)
    even = random_directions(x, 3.0, 40, seed=1, shaped=False)
    assert np.abs(even[:, 2:]).min() > 0 and np.linalg.norm(even[3]) == pytest.approx(3.0)
    assert np.abs(found[:, 2:]).max() < 1e-6 and np.abs(found[:, 0]).mean() > np.abs(found[:, 1]).mean()


def test_readouts_and_scores() -> None:
    rng = np.random.default_rng(0)
    x, episode = rng.standard_normal((90, 5)).astype(np.float32), np.arange(90) // 10
    y = (x @ np.arange(5.0) + 3).astype(np.float32)
    found = fit(x, y, episode, numeric=True)
    assert goodness(y, found.predict(x), True) > 0.99
    named = np.where(y > 3, 7, 4)
    kinds = fit(x, named, episode, numeric=False)
    assert set(kinds.predict(x)) == {4, 7} and goodness(named, kinds.predict(x), False) > 0.9
    assert goodness(np.array([0, 0, 0, 1]), np.zeros(4, int), False) == 0.5  # balanced: the rare class counts
    told = score(y, y + rng.standard_normal(90).astype(np.float32), episode, True)
    assert told.low <= told.value <= told.high < 1
    assert score(y[:10], y[:10], episode[:10], True).low == -np.inf  # one episode says nothing of others


def test_steering_by_the_difference_of_means(turns: TurnSet, direction: np.ndarray) -> None:
    kind = turns.turn % 2 == 0
    told = planted(turns, kind * 2.0, direction, layer=1)
    vector = mean_difference(told, 1, kind, ~kind, "evenness")
    assert cosine(vector.values, direction) > 0.98
    assert np.linalg.norm(vector.values) == pytest.approx(2 * np.linalg.norm(direction), rel=0.05)
    assert vector.counts == (56, 56)
    cache = run_with_edits(told.model, told.tokenizer, told.recordings[0], [vector.edit(0.5, everywhere=False)])
    resid = resid_of(told.model, told.tokenizer, told.recordings[0], 1)
    offline = decide_onward(resid, 1, [0.5 * torch.from_numpy(vector.values)])[0]
    np.testing.assert_allclose(decision(cache).logit_difference, offline, atol=1e-3)  # the edit is the same push
    with pytest.raises(InterpError, match="both kinds: there are 0"):
        mean_difference(told, 1, np.zeros(len(told), bool), kind)


def test_a_dose_of_speech_makes_it_speak_and_breaks_silence(turns: TurnSet) -> None:
    model = turns.model
    speak, silent = (model.unembed.weight[turns.tokenizer.id(name)] for name in ("<speak>", "<silent>"))
    pull = ((speak - silent) * model.backbone.norm.weight).numpy()
    length = 20 * np.abs(turns.at_layer(1)).mean() / np.abs(pull).mean()
    odd = turns.turn % 2 == 1
    vector = mean_difference(planted(turns, odd * length, pull, 1), 1, odd, ~odd)
    target, elsewhere = turns.turn > 8, turns.turn < 5
    curve = dose_response(turns, vector, target, elsewhere, strengths=(-1.0, 0.0, 1.0), n_random=1, recordings=2)
    assert curve.target[0] == 0 and curve.target[-1] == 1 and curve.elsewhere[-1] == 1
    assert curve.gain == 1 and curve.turns == (10, 10) and curve.random_target.shape == (1, 3)
    before = turns.logit_difference[elsewhere & np.isin(turns.episode, [0, 1])] > 0
    assert curve.elsewhere[1] == pytest.approx(before.mean()) and curve.broken == pytest.approx(1 - before.mean())
    with pytest.raises(InterpError, match="turns of both kinds"):
        dose_response(turns, vector, target, np.zeros(len(turns), bool))
