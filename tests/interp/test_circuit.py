"""Circuits: what is counted, what is trivial, and a search that finds what it can be made to need."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tml_lab.interp.cache import Cache, InterpError
from tml_lab.interp.circuit import (
    KINDS,
    Case,
    case,
    close_gates,
    decide,
    decide_all,
    exchange,
    fit_shift,
    preserved,
    trivial,
)
from tml_lab.interp.components import Parts, block_of, masked_hooks
from tml_lab.interp.decision import decision
from tml_lab.interp.stand_ins import Means, means
from tml_lab.model.moe import MoE
from tml_lab.model.text import DECISIONS


@pytest.fixture(scope="module")
def own(cache: Cache) -> Case:
    return case(cache.model, cache.tokenizer, cache.recording)


@pytest.fixture(scope="module")
def average(cache: Cache) -> Means:
    return means(cache.model, cache.tokenizer, [cache.recording])


def test_a_case_is_the_whole_models_decisions(cache: Cache, own: Case) -> None:
    np.testing.assert_allclose(own.logits, decision(cache).logits, atol=1e-5)
    assert [DECISIONS[n] for n in own.decided] == list(decision(cache).names)
    for layer in (0, 1, 2):  # the same from any layer on
        later = decide(cache.model, own, (), layer, cache["resid_pre", layer])
        torch.testing.assert_close(later, own.logits, atol=1e-4, rtol=1e-4)


def test_shares_by_kind_of_turn(own: Case) -> None:
    speaks = own.decided == DECISIONS.index("<speak>")
    kinds = [KINDS[n] for n in own.kinds]
    for n, kind in enumerate(kinds):
        before = bool(n > 0 and speaks[n - 1])
        now = bool(speaks[n])
        names = {(False, False): "silent", (True, False): "begins", (True, True): "speaks", (False, True): "ends"}
        assert kind == names[now, before]
    same = preserved([own], [own.decided])
    assert same.overall == same.balanced == 1.0 and sum(same.turns.values()) == len(kinds)
    rows = trivial([own])
    assert rows["always silent"].balanced == 0.5 and rows["always silent"].kinds["silent"] == 1.0
    assert rows["as the turn before"].kinds["begins"] == 0.0 == rows["as the turn before"].kinds["ends"]
    assert rows["always silent"].overall == pytest.approx(1 - speaks.mean())


def test_the_whole_is_faithful_and_nothing_is_not(cache: Cache, own: Case, average: Means) -> None:
    parts = Parts(cache.model.cfg)
    whole = preserved([own], decide_all(cache.model, [own], torch.ones(len(parts)), average))
    nothing = preserved([own], decide_all(cache.model, [own], torch.zeros(len(parts)), average))
    assert whole.overall == 1.0 and nothing.overall < 1.0


def test_a_shift_keeps_what_is_in_order(cache: Cache, own: Case) -> None:
    """The whole model, its decisions all moved to one side: one number brings them back."""
    ones = torch.ones(21)
    assert fit_shift(cache.model, [own], ones) == 0.0
    moved = replace(own, logits=own.logits)
    decided = decide_all(cache.model, [moved], ones, shift=-100.0)
    assert (decided[0] != DECISIONS.index("<speak>")).all()
    difference = (own.logits[:, 1] - own.logits[:, 0]).numpy()
    shy = own.logits - torch.tensor([0.0, float(np.median(difference)), 100.0, 100.0])
    shift = fit_shift(cache.model, [replace(own, logits=shy)], ones)  # the whole decides as if silence were likelier
    assert ((difference + shift > 0) == (shy.argmax(-1) == 1).numpy()).all()


def weakened(cache: Cache) -> Cache:
    """A model in which two parts carry all: L0S0 most of it, L2H1 the rest; the others give next to nothing."""
    model = copy.deepcopy(cache.model)
    for n in range(model.cfg.n_layers):
        block = block_of(model, n)
        assert isinstance(block.mlp, MoE)
        block.mlp.down *= 1e-3
        block.mlp.shared_down *= 30.0 if n == 0 else 1e-3
        heads = block.attn.o_proj.weight.view(64, 2, 32)
        heads *= torch.tensor([1e-3, 30.0 if n == 2 else 1e-3])[:, None]
    return replace(cache, model=model)


@pytest.mark.filterwarnings("ignore:this recording was made with weights")
def test_the_search_finds_the_parts_that_matter(cache: Cache) -> None:
    weak = weakened(cache)
    whole = case(weak.model, weak.tokenizer, weak.recording)
    average = means(weak.model, weak.tokenizer, [weak.recording])
    some = ["L0H0", "L0S0", "L1E1", "L2H1"]
    closing = close_gates(weak.model, [whole], average, 1, 25, some, rate=0.4, price=2.0, progress=False)
    assert set(closing.order) == set(some) and closing.order[0] == "L0S0" and len(closing.losses) == 25
    assert exchange(weak.model, [whole], average, ["L0E0", "L2H1"], tries=3, progress=False) == ["L0S0", "L2H1"]


def test_the_gradient_reaches_the_mask(cache: Cache, own: Case, average: Means) -> None:
    mask = torch.full((21,), 0.5, requires_grad=True)
    decide(cache.model, own, masked_hooks(cache.model, mask, average)).sum().backward()
    assert mask.grad is not None and torch.isfinite(mask.grad).all() and (mask.grad != 0).sum() > 15


def test_a_deterministic_model_is_refused(cache: Cache) -> None:
    model = copy.deepcopy(cache.model)
    model.deterministic = True
    with pytest.raises(InterpError, match="deterministic = False"):
        case(model, cache.tokenizer, cache.recording)
