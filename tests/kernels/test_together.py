"""Kernels on several sessions' rows: each has the bits that it has alone, and its state goes to its own place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tml_lab.config import preset
from tml_lab.model import decode, joint
from tml_lab.model.backbone import Backbone
from tml_lab.model.flow import FlowHead
from tml_lab.model.state import State, clone_state, new_state

weights = pytest.importorskip("tml_kernels.weights", reason="Numba does not run here")
tiles = pytest.importorskip("tml_kernels.tiles")
RNG = np.random.default_rng(0)
CFG = preset("pico").with_(
    d_model=64, d_head=32, window=24, rel_extent=40, global_budget=300, n_sinks=4, d_expert=40, log_scaling_n_floor=8
)


class Model:
    """A backbone and a flow head: what the joint calls look at."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.cfg = CFG.with_(flow_steps=3, flow_temperature=0.8)
        self.backbone = Backbone(CFG).eval().requires_grad_(False)
        self.flow = FlowHead(CFG.d_model, 320, 48, 2).eval().requires_grad_(False)
        for p in (*self.backbone.parameters(), *self.flow.parameters()):  # nothing may hide behind a zero
            p.add_(torch.randn_like(p) * 0.2)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def tokens(n: int, seed: int) -> Tensor:
    return torch.randn(1, n, CFG.d_model, generator=torch.Generator().manual_seed(seed))


def same(a: State, b: State) -> bool:
    return all(a[name].numpy().tobytes() == b[name].numpy().tobytes() for name in a)


@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(0, 450), st.booleans()), min_size=1, max_size=7),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_several_sessions_tokens_are_each_its_own(
    model: Model, sessions: list[tuple[int, int, bool]], seed: int
) -> None:
    xs, together, alone = [], [], []
    for i, (n, past, short) in enumerate(sessions):
        state = new_state(CFG, max_tokens=past + n if short else None)  # rings of other lengths beside each other
        for piece in tokens(past, seed + i).split(64, dim=1):
            if piece.shape[1]:
                decode.decode(model.backbone, piece, state)
        xs.append(tokens(n, 1000 + seed + i))
        together.append(state)
        alone.append(clone_state(state))
    hidden = joint.append_jointly(model, xs, together)  # type: ignore[arg-type]
    for x, ours, state, own in zip(xs, hidden, together, alone, strict=True):
        assert torch.equal(ours, model.backbone(x, own)) and same(state, own)


@given(st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
@torch.no_grad()
def test_several_own_voice_tokens_are_each_its_own(model: Model, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden, noise = torch.randn(n, CFG.d_model, generator=generator), torch.randn(n, 320, generator=generator)
    drawn = joint.draw_jointly(model, hidden, noise)  # type: ignore[arg-type]
    for i in range(n):
        own = model.flow.sample(hidden[i : i + 1], noise[i : i + 1], 3, 0.8)
        assert torch.equal(drawn[i : i + 1], own)


@torch.no_grad()
def test_state_that_cannot_be_written_into_is_copied_first(model: Model) -> None:
    plain, odd = new_state(CFG), new_state(CFG)
    odd["0.k"] = odd["0.k"].transpose(2, 3).contiguous().transpose(2, 3)  # the same numbers, not row by row
    odd["1.k_conv"] = odd["1.k_conv"].double()
    for seed in range(3):
        x = tokens(5, seed)
        assert torch.equal(model.backbone(x, plain), model.backbone(x, odd))
    assert same(plain, odd)


@pytest.mark.parametrize("cols", [7, 32, 75, 96, 256])
@pytest.mark.parametrize("rows", [3, 4, 21])
def test_no_tile_and_no_neighbour_changes_a_bit(rows: int, cols: int) -> None:
    full = RNG.standard_normal((rows, cols)).astype(np.float32)
    x = RNG.standard_normal((70, cols)).astype(np.float32)
    whole = weights.matmul(weights.matrix(full), x)
    exact = x.astype(np.float64) @ full.T.astype(np.float64)
    assert np.linalg.norm(whole - exact) < 1e-6 * np.linalg.norm(exact)
    for first, last in ((0, 1), (3, 5), (6, 9), (1, 66)):
        assert np.array_equal(weights.matmul(weights.matrix(full), x[first:last].copy()), whole[first:last])
    for i in range(0, rows // 4 * 4, 4):  # which four rows are a tile is no matter either
        some = weights.matmul(weights.matrix(full[i : i + 4].copy()), x)
        assert np.array_equal(some, whole[:, i : i + 4])


def test_the_order_of_additions_is_the_one_that_is_written_down() -> None:
    w, x = (RNG.standard_normal(160).astype(np.float32) for _ in range(2))
    sums = np.zeros(32, np.float64)
    for start in range(0, 160, 32):  # a fused step rounds once: float64 holds product and sum before that
        step = w[start : start + 32].astype(np.float64) * x[start : start + 32] + sums
        sums = step.astype(np.float32).astype(np.float64)
    eight = sums.astype(np.float32).reshape(4, 8)
    total = ((eight[1] + eight[0]) + eight[2]) + eight[3]  # [8]
    while len(total) > 1:
        total = total[: len(total) // 2] + total[len(total) // 2 :]
    fused = weights.matmul(weights.matrix(w[None]), x[None])[0, 0]
    assert fused == pytest.approx(float(total[0]), abs=0) or not _has_fma()


def _has_fma() -> bool:
    """Whether this machine multiplies and adds in one rounding."""
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get("fma")) or "aarch64" in binding.get_process_triple()
