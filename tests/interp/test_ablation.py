"""Ablation: each number is the run it stands for; a neuron is a column of its expert."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tml_lab.interp.ablation import ablate, neuron_hooks
from tml_lab.interp.cache import Cache, InterpError, run_offline
from tml_lab.interp.circuit import KINDS
from tml_lab.interp.components import NEEDS, Parts
from tml_lab.interp.decision import decision
from tml_lab.interp.edits import Ablate, run_with_edits
from tml_lab.interp.watch import Watch
from tml_lab.stream.recording import Recording
from tml_lab.stream.session import Session


@pytest.fixture(scope="module")
def recordings(cache: Cache) -> list[Recording]:
    """The session's, and one with another beginning."""
    session = Session(cache.model, cache.tokenizer, seed=7)
    for turn in range(6, 16):
        session.step(*cache.recording.inputs.turn(turn))
    return [cache.recording, session.recording()]


def test_each_number_is_the_run_it_stands_for(cache: Cache) -> None:
    table = ablate(cache.model, cache.tokenizer, [cache.recording], ["L1H1", "L2E0"], "zero", progress=False)
    assert table.flipped.dims == ("part", "kind") and list(table.kind.values) == list(KINDS)
    full = decision(cache)
    spoke = np.array(full.names) == "<speak>"
    before = np.concatenate([[False], spoke[:-1]])
    here = {"silent": ~spoke & ~before, "begins": spoke & ~before, "speaks": spoke & before, "ends": ~spoke & before}
    assert table.turns.values.tolist() == [here[kind].sum() for kind in KINDS]
    for label, at in (("L1H1", "L1H1 z"), ("L2E0", "L2E0 expert_weights")):
        other = decision(run_with_edits(cache.model, cache.tokenizer, cache.recording, [Ablate(at=at)]))
        change = other.logit_difference - full.logit_difference
        flipped = np.array(other.names) != np.array(full.names)
        for kind, mask in here.items():
            cell = table.sel(part=label, kind=kind)
            if not mask.any():
                assert np.isnan(cell.change)
                continue
            assert float(cell.change) == pytest.approx(change[mask].mean(), abs=1e-4)
            assert float(cell.moved) == pytest.approx(np.abs(change[mask]).mean(), abs=1e-4)
            assert float(cell.flipped) == pytest.approx(flipped[mask].mean())
    assert abs(table.moved).max() > 0


@pytest.mark.parametrize("baseline", ["mean", "resample"])
def test_all_parts_and_the_gentler_baselines(cache: Cache, recordings: list[Recording], baseline: str) -> None:
    table = ablate(cache.model, cache.tokenizer, recordings, baseline=baseline, progress=False)  # type: ignore[arg-type]
    assert list(table.part.values) == list(Parts(cache.model.cfg).labels) and table.attrs["baseline"] == baseline
    assert int(table.turns.sum()) == sum(r.turns for r in recordings)
    assert np.isfinite(table.moved.sel(kind="silent")).all() and float(table.moved.sel(kind="silent").max()) > 0
    again = ablate(cache.model, cache.tokenizer, recordings, ["L1H0"], baseline, progress=False)  # type: ignore[arg-type]
    if baseline == "mean":
        np.testing.assert_allclose(again.change.sel(part="L1H0"), table.change.sel(part="L1H0"), atol=1e-5)


@pytest.mark.parametrize(("label", "field"), [("L1E0N5", "down"), ("L2S0N9", "shared_down")])
def test_a_neuron_is_a_column_of_its_expert(cache: Cache, label: str, field: str) -> None:
    """Taking it out is setting its column of `down` to zero."""
    layer, expert, neuron = int(label[1]), int(label[3]), int(label.split("N")[1])
    got = run_offline(cache.model, cache.tokenizer, cache.recording, (), neuron_hooks(cache.model, label), NEEDS)
    without = copy.deepcopy(cache.model)
    getattr(without.backbone.blocks[layer].mlp, field)[expert, :, neuron] = 0.0
    with pytest.warns(UserWarning, match="other than this model's"):
        hand = run_offline(without, cache.tokenizer, cache.recording, ())
    assert (got.logits - cache.logits).abs().max() > 1e-4
    torch.testing.assert_close(got.logits, hand.logits, atol=1e-5, rtol=1e-4)
    table = ablate(cache.model, cache.tokenizer, [cache.recording], [label], "zero", progress=False)
    assert float(table.moved.max()) > 0


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    own = (cache.model, cache.tokenizer)
    with pytest.raises(InterpError, match="at least two recordings"):
        ablate(*own, [cache.recording], ["L1H1"], "resample", progress=False)
    with pytest.raises(InterpError, match="choose zero, mean or resample"):
        ablate(*own, [cache.recording], ["L1H1"], "median", progress=False)  # type: ignore[arg-type]
    with pytest.raises(InterpError, match="no part is called 'L9H0'"):
        ablate(*own, [cache.recording], ["L9H0"], progress=False)
    with pytest.raises(InterpError, match=r"neurons 0\.\.63 in each"):
        neuron_hooks(cache.model, "L1E0N64")
    with pytest.raises(InterpError, match="is no neuron"):
        neuron_hooks(cache.model, "L1H0")
    session = Session(cache.model, cache.tokenizer)
    session.observer = Watch(cache.model.cfg, neuron_hooks(cache.model, "L1E0N5"), (), NEEDS)
    session.step(np.zeros(3200, np.float32))
    with pytest.raises(InterpError, match="not while streaming"):
        session.step(np.zeros(3200, np.float32))
