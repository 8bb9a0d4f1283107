"""Streaming equals offline, in any chunking, past the wrap of every ring."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tml_lab.config import preset
from tml_lab.model.backbone import Backbone
from tml_lab.model.state import MAX_CHUNK, clone_state, new_state, positions_held, slot_of

TINY = preset("pico").with_(d_model=32, d_head=16, window=24, rel_extent=40, global_budget=150, n_sinks=4, d_expert=16)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    model = Backbone(TINY).eval()
    with torch.no_grad():  # nothing may hide behind a zero initialisation
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model


@settings(max_examples=12)
@given(st.lists(st.integers(1, 40), min_size=8, max_size=24), st.integers(0, 10_000))
@torch.no_grad()
def test_any_chunking_equals_one_pass(backbone: Backbone, chunks: list[int], seed: int) -> None:
    chunks = [*chunks, 300]  # sure to wrap: 300 tokens in steps of at most MAX_CHUNK
    x = torch.randn(1, sum(chunks), TINY.d_model, generator=torch.Generator().manual_seed(seed))
    offline = backbone(x)
    state, pieces, start = new_state(TINY), [], 0
    for chunk in chunks:
        for begin in range(start, start + chunk, MAX_CHUNK):
            pieces.append(backbone(x[:, begin : min(begin + MAX_CHUNK, start + chunk)], state))
        start += chunk
    torch.testing.assert_close(torch.cat(pieces, 1), offline, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_at_different_positions_do_not_meet(backbone: Backbone) -> None:
    x = torch.randn(2, 40, TINY.d_model, generator=torch.Generator().manual_seed(1))
    state = new_state(TINY, 2)
    one = {name: tensor[:1].clone() for name, tensor in state.items()}
    backbone(x[:1, :13], one)
    for name, tensor in one.items():
        state[name][:1] = tensor
    both = backbone(x[:, 13:33], state)  # row 0 stands at 13, row 1 at 0
    alone = new_state(TINY)
    backbone(x[:1, :13], alone)
    torch.testing.assert_close(both[:1], backbone(x[:1, 13:33], alone), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[1:], backbone(x[1:, 13:33], new_state(TINY)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_clone_goes_its_own_way(backbone: Backbone) -> None:
    x = torch.randn(1, 30, TINY.d_model, generator=torch.Generator().manual_seed(2))
    state = new_state(TINY)
    backbone(x[:, :10], state)
    copy = clone_state(state)
    first = backbone(x[:, 10:20], state)
    assert torch.equal(backbone(x[:, 10:20], copy), first)
    assert not torch.equal(backbone(x[:, 20:], copy), first)


@given(st.integers(1, 500), st.integers(20, 60), st.integers(0, 10))
def test_slots_hold_the_newest_positions_and_the_sinks(n: int, slots: int, sinks: int) -> None:
    held = [-1] * slots
    for p in range(n):
        held[int(slot_of(torch.tensor([p]), slots, sinks))] = p
    assert positions_held(torch.tensor([n]), slots, sinks)[0].tolist() == held
