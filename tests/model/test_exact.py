"""`deterministic=True`: chunks, batches, threads and gradients do not change a bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tml_lab.config import preset
from tml_lab.model.backbone import Backbone
from tml_lab.model.exact import NotExactError
from tml_lab.model.state import MAX_CHUNK, new_state
from tml_lab.model.tap import Tap

pytest.importorskip("tml_kernels.decode", reason="Numba does not run here")
TINY = preset("pico").with_(d_model=32, d_head=16, window=24, rel_extent=40, global_budget=150, n_sinks=4, d_expert=16)
SHAPES = {
    "nano's kind": TINY,
    "all global, log scaling": TINY.with_(global_every=1, log_scaling_n_floor=8),
    "two shared experts, wide groups": TINY.with_(n_shared_experts=2, n_heads=4, top_k=3),
}


def backbone_of(name: str) -> Backbone:
    torch.manual_seed(0)
    model = Backbone(SHAPES[name]).eval().requires_grad_(False)
    for p in model.parameters():  # nothing may hide behind a zero initialisation
        p.add_(torch.randn_like(p) * 0.2)
    model.deterministic = True
    return model


@pytest.fixture(scope="module", params=SHAPES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return backbone_of(request.param)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stream(model: Backbone, x: Tensor, chunks: list[int]) -> Tensor:
    state = new_state(model.cfg, len(x))
    return torch.cat([model(piece, state) for piece in x.split(chunks, dim=1)], 1)


@settings(max_examples=12, deadline=None)
@given(chunks=st.lists(st.integers(1, 150), min_size=3, max_size=8), seed=st.integers(0, 10_000))
@torch.no_grad()
def test_a_stream_in_any_chunking_is_one_offline_pass(backbone: Backbone, chunks: list[int], seed: int) -> None:
    chunks = [*chunks, 250]  # sure to go round every ring, and beyond MAX_CHUNK
    x = randn(1, sum(chunks), TINY.d_model, seed=seed)
    assert torch.equal(stream(backbone, x, chunks), backbone(x))


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 5), st.integers(1, 90), st.integers(0, 10_000))
@torch.no_grad()
def test_a_row_is_the_same_alone_and_beside_others(backbone: Backbone, rows: int, n: int, seed: int) -> None:
    x = randn(rows, n + 7, TINY.d_model, seed=seed)
    together = backbone(x)
    for row in range(rows):
        assert torch.equal(together[row : row + 1], backbone(x[row : row + 1]))
    # in a batch whose rows stand at different positions
    state = new_state(TINY if backbone.cfg == TINY else backbone.cfg, rows)
    one = {name: tensor[:1].clone() for name, tensor in state.items()}
    backbone(x[:1, :n], one)
    for name, tensor in one.items():
        state[name][:1] = tensor
    moved = torch.cat([x[:1, n:], x[1:, :7]])
    both = backbone(moved, state)
    assert torch.equal(both[:1], together[:1, n:]) and torch.equal(both[1:], together[1:, :7])
    assert state["pos"].tolist() == [n + 7] + [7] * (rows - 1)


@torch.no_grad()
def test_a_session_without_the_flag_has_the_same_bits(backbone: Backbone) -> None:
    x = randn(1, 300, TINY.d_model, seed=1)
    exact = backbone(x)
    backbone.deterministic = False
    plain = stream(backbone, x, [5, 1, 1, MAX_CHUNK] * 4 + [16])
    offline = backbone(x)
    backbone.deterministic = True
    assert torch.equal(plain, exact)
    torch.testing.assert_close(offline, exact, atol=2e-5, rtol=1e-5)
    assert not torch.equal(offline, exact), "if this holds by itself the flag is for nothing"


@pytest.mark.usefixtures("threads")
@torch.no_grad()
def test_the_number_of_threads_changes_nothing(backbone: Backbone) -> None:
    x = randn(2, 130, TINY.d_model, seed=2)
    torch.set_num_threads(1)
    one = backbone(x)
    torch.set_num_threads(2)
    assert torch.equal(backbone(x), one)


@pytest.mark.parametrize("name", SHAPES)
def test_the_trainers_forward_has_the_sessions_values_and_the_torch_codes_gradient(name: str) -> None:
    model = backbone_of(name)
    x, upstream = randn(2, 80, TINY.d_model, seed=3), randn(2, 80, TINY.d_model, seed=4)
    with torch.no_grad():
        session = torch.cat([stream(model, row, [1] * 80) for row in x.split(1)])
    model.train().requires_grad_(True)
    grads = {}
    for exact in (True, False):
        model.deterministic = exact
        model.zero_grad()
        out = model(x)
        (out * upstream).sum().backward()
        grads[exact] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        assert torch.equal(out, session) == exact
    assert len(grads[True]) == len(grads[False]) > 10
    for ours, theirs in zip(grads[True], grads[False], strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm() + 1e-6


@torch.no_grad()
def test_what_keeps_the_kernels_away_is_named() -> None:
    model = backbone_of("nano's kind")
    x = randn(1, 4, TINY.d_model, seed=5)
    handle = model.blocks[0].mlp.register_forward_hook(lambda *_: None)
    with pytest.raises(NotExactError, match="a hook inside a block"):
        model(x)
    handle.remove()
    with pytest.raises(NotExactError, match="float32 on the CPU"):
        model(x.double())
    with pytest.raises(NotExactError, match="attention in a session alone"):
        model(x, taps={0: Tap()})
    model.deterministic = False
    assert model(x.expand(2, -1, -1)).shape == (2, 4, TINY.d_model)


@torch.no_grad()
def test_hooks_on_a_block_are_heard_and_may_intervene() -> None:
    model = backbone_of("nano's kind")
    x = randn(1, 70, TINY.d_model, seed=6)
    usual = model(x)
    seen: list[int] = []
    handle = model.blocks[1].register_forward_hook(lambda _m, _i, out: seen.append(out.shape[1]))
    assert torch.equal(model(x), usual) and seen == [MAX_CHUNK, 70 - MAX_CHUNK]
    handle.remove()
    handle = model.blocks[1].register_forward_hook(lambda _m, _i, out: out.mul(0.5))
    assert not torch.allclose(model(x), usual)
    handle.remove()
