"""The fused path of a session's tokens: the torch code's numbers, the same bits in any chunking, and no surprises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tml_lab.config import preset
from tml_lab.model import decode
from tml_lab.model.backbone import Backbone
from tml_lab.model.flow import FlowHead
from tml_lab.model.state import State, new_state
from tml_lab.model.tap import Tap

pytest.importorskip("tml_kernels.decode", reason="Numba does not run here")
TINY = preset("pico").with_(d_model=32, d_head=16, window=24, rel_extent=40, global_budget=150, n_sinks=4, d_expert=16)
SHAPES = {
    "nano's kind": TINY,
    "all global, log scaling": TINY.with_(global_every=1, log_scaling_n_floor=8),
    "two shared experts, wide groups": TINY.with_(n_shared_experts=2, n_heads=4, top_k=3),
}


def backbone_of(cfg, seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    model = Backbone(cfg).eval().requires_grad_(False)
    for p in model.parameters():  # nothing may hide behind a zero initialisation
        p.add_(torch.randn_like(p) * 0.2)
    return model


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return backbone_of(TINY)


def stream(model: Backbone, x: Tensor, chunks: list[int]) -> tuple[Tensor, State]:
    state, pieces = new_state(model.cfg), []
    for piece in x.split(chunks, dim=1):
        pieces.append(model(piece, state))
    return torch.cat(pieces, 1), state


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_it_is_the_torch_code(name: str) -> None:
    model = backbone_of(SHAPES[name])
    x = torch.randn(1, 320, TINY.d_model, generator=torch.Generator().manual_seed(3))
    chunks = [1, 6, 18, 5, 1, 1, 64] * 3 + [32]
    assert decode.can_fuse(model, x[:, :1])
    fused, state = stream(model, x, chunks)
    model.fused = False
    plain, expected = stream(model, x, chunks)
    torch.testing.assert_close(fused, plain, atol=2e-5, rtol=1e-5)
    for key, tensor in state.items():
        torch.testing.assert_close(tensor, expected[key], atol=2e-5, rtol=1e-5, equal_nan=True)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=12), st.integers(0, 10_000))
@torch.no_grad()
def test_any_chunking_gives_the_same_bits(backbone: Backbone, chunks: list[int], seed: int) -> None:
    n = sum(chunks)
    x = torch.randn(1, n, TINY.d_model, generator=torch.Generator().manual_seed(seed))
    one_by_one, _ = stream(backbone, x, [1] * n)
    assert torch.equal(stream(backbone, x, chunks)[0], one_by_one)


@torch.no_grad()
def test_looking_changes_nothing_and_shows_the_torch_codes_pattern(backbone: Backbone) -> None:
    x = torch.randn(1, 60, TINY.d_model, generator=torch.Generator().manual_seed(5))
    seen: dict[bool, Tap] = {}
    for fused in (True, False):
        backbone.fused = fused
        state = new_state(TINY)
        backbone(x[:, :41], state)
        seen[fused] = Tap()
        watched = backbone(x[:, 41:], state, {1: seen[fused]})
        if fused:
            assert torch.equal(watched, stream(backbone, x, [41, 19])[0][:, 41:])
    backbone.fused = True
    assert torch.equal(seen[True]["key_pos"], seen[False]["key_pos"])
    torch.testing.assert_close(seen[True]["pattern"], seen[False]["pattern"], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(seen[True]["pattern"].sum(-1), torch.ones(1, TINY.n_heads, 19))


@torch.no_grad()
def test_hooks_and_replaced_parts_are_honoured(backbone: Backbone) -> None:
    x = torch.randn(1, 4, TINY.d_model, generator=torch.Generator().manual_seed(6))
    usual = backbone(x, new_state(TINY))
    called: list[int] = []
    handle = backbone.blocks[1].mlp.register_forward_hook(lambda *_: called.append(1))
    torch.testing.assert_close(backbone(x, new_state(TINY)), usual, atol=1e-5, rtol=1e-5)
    handle.remove()
    assert called == [1]
    conv = backbone.blocks[0].attn_conv
    conv.forward = lambda x, tail=None: (torch.zeros_like(x), tail)  # a learner's own
    assert not decode.can_fuse(backbone, x) and not torch.allclose(backbone(x, new_state(TINY)), usual)
    del conv.forward
    assert torch.equal(backbone(x, new_state(TINY)), usual)


@torch.no_grad()
def test_a_hook_on_a_blocks_output_keeps_the_bits_and_may_change_them(backbone: Backbone) -> None:
    x = torch.randn(1, 4, TINY.d_model, generator=torch.Generator().manual_seed(8))
    usual = backbone(x, new_state(TINY))
    seen: list[tuple[Tensor, Tensor]] = []
    handle = backbone.blocks[1].register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    assert torch.equal(backbone(x, new_state(TINY)), usual)
    backbone.fused = False
    backbone(x, new_state(TINY))
    backbone.fused = True
    for fused, plain in zip(*seen, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)
    handle.remove()

    def halve(_module: object, _inputs: object, out: Tensor) -> Tensor:
        return out * 0.5

    handle = backbone.blocks[1].register_forward_hook(halve)
    halved = backbone(x, new_state(TINY))
    backbone.fused = False
    torch.testing.assert_close(halved, backbone(x, new_state(TINY)), atol=1e-5, rtol=1e-5)
    backbone.fused = True
    handle.remove()


@torch.no_grad()
def test_a_weight_changed_in_place_is_heard() -> None:
    model = shipped(backbone_of(TINY, seed=1))
    x = torch.randn(1, 4, TINY.d_model, generator=torch.Generator().manual_seed(7))
    before = model(x, new_state(TINY))
    value = model.blocks[2].mlp.down
    assert isinstance(value, nn.Parameter)
    value.mul_(0.5)
    after = model(x, new_state(TINY))
    model.fused = False
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, model(x, new_state(TINY)), atol=1e-5, rtol=1e-5)


def shipped(model: Backbone) -> Backbone:
    """The same backbone with weights that a shipped checkpoint could hold."""
    model.load_state_dict({name: eight_bits(t) for name, t in model.state_dict().items()})
    return model


def eight_bits(weight: Tensor) -> Tensor:
    if weight.ndim < 2:
        return weight
    scale = weight.abs().amax(-1, keepdim=True) / 127
    return (weight / scale).round() * scale


@torch.no_grad()
def test_eight_bit_twins_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from tml_kernels import weights

    model = shipped(backbone_of(TINY, seed=3))
    x = torch.randn(1, 90, TINY.d_model, generator=torch.Generator().manual_seed(9))
    chunks = [5, 1, 1, 17, 1, 64, 1]
    packed, _ = stream(model, x, chunks)
    twins = decode.inside(model).kept[0][1][0]
    assert twins.gate_up.scale.size and twins.q_proj.scale.size, "nothing was read in eight bits"
    monkeypatch.setattr(weights, "_twin", lambda full, bits: None)
    model.__dict__.pop("_inside")
    plain, _ = stream(model, x, chunks)
    assert not decode.inside(model).kept[0][1][0].gate_up.scale.size
    assert torch.equal(packed, plain)


@torch.no_grad()
def test_a_weight_written_behind_torchs_back_is_heard_by_the_next_session() -> None:
    model = shipped(backbone_of(TINY, seed=4))
    x = torch.randn(1, 4, TINY.d_model, generator=torch.Generator().manual_seed(7))
    before = model(x, new_state(TINY))
    dict(model.named_parameters())["blocks.1.attn.v_proj.weight"].data[0, 0] += 1.0
    decode.inside(model).look_again()  # what a session does when it begins
    after = model(x, new_state(TINY))
    assert not torch.equal(before, after)
    model.fused = False
    torch.testing.assert_close(after, model(x, new_state(TINY)), atol=1e-5, rtol=1e-5)


def test_a_model_made_in_inference_mode_runs() -> None:
    with torch.inference_mode():
        model = backbone_of(TINY, seed=5)
        x = torch.randn(1, 4, TINY.d_model)
        assert decode.can_fuse(model, x) and torch.isfinite(model(x, new_state(TINY))).all()


def test_it_steps_aside(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 4, TINY.d_model)
    assert not decode.can_fuse(backbone, x)  # a gradient may be asked for
    with torch.no_grad():
        assert decode.can_fuse(backbone, x)
        assert not decode.can_fuse(backbone, x.expand(2, -1, -1)) and not decode.can_fuse(backbone, x.double())
        monkeypatch.setattr(decode, "fused_kernels", lambda: None)
        assert not decode.can_fuse(backbone, x)


@torch.no_grad()
def test_the_flow_head_draws_the_same_token() -> None:
    torch.manual_seed(0)
    head = FlowHead(32, 320, 48, 2).eval().requires_grad_(False)
    for p in head.parameters():
        p.add_(torch.randn_like(p) * 0.1)
    h, noise = torch.randn(1, 32), torch.randn(1, 320)
    assert decode.can_fuse_flow(head, noise) and not decode.can_fuse_flow(head, noise.expand(2, -1))
    fused = head.sample(h, noise, 4, 0.7)
    head.fused = False
    torch.testing.assert_close(fused, head.sample(h, noise, 4, 0.7), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_a_turns_first_token_found_holds_until_the_turn_is_over() -> None:
    model = shipped(backbone_of(TINY, seed=5))
    x = torch.randn(1, 1, TINY.d_model, generator=torch.Generator().manual_seed(7))
    before = model(x, new_state(TINY))
    called: list[int] = []
    with decode.one_turn(model):
        assert torch.equal(model(x, new_state(TINY)), before)
        handle = model.blocks[1].mlp.register_forward_hook(lambda *_: called.append(1))
        dict(model.named_parameters())["blocks.0.attn.v_proj.weight"][0, 0] += 1.0  # in the middle of the turn
        assert torch.equal(model(x, new_state(TINY)), before) and not called
    after = model(x, new_state(TINY))
    assert called and not torch.equal(after, before)
    handle.remove()
    with decode.one_turn(model):  # a turn begins: it looks again
        torch.testing.assert_close(model(x, new_state(TINY)), after, atol=1e-5, rtol=1e-5)
