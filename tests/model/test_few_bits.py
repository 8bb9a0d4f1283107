"""Weights in few bits: small, close, and the same whenever they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tml_kernels.rounding import (
    SHARES,
    SMALLEST_SCALE,
    from_four_bits,
    from_six_bits,
    rounded,
    to_four_bits,
    to_integers,
    to_six_bits,
)
from tml_lab.config import preset
from tml_lab.model.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from tml_lab.model.few_bits import SCALE, SCALE4, SMALLEST, bits_of, pack, unpack
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4), st.integers(64, 200), st.integers(32, 300), st.integers(0, 99), st.sampled_from([6, 8])
)
def test_every_weight_comes_back_within_half_a_step(
    n: int, rows: int, cols: int, seed: int, bits: int
) -> None:
    weight = 50.0 ** (seed % 9 - 4) * torch.randn(
        n, rows, cols, generator=torch.Generator().manual_seed(seed)
    )
    packed = pack({"w": weight}, bits)
    back = unpack(packed)["w"]
    if weight.numel() < SMALLEST:
        assert torch.equal(back, weight.bfloat16().float()) and len(packed) == 1
        return
    six = bits == 6 and cols % 4 == 0
    assert packed["w"].shape == ((n, rows, cols * 3 // 4) if six else (n, rows, cols))
    assert packed["w"].dtype == (torch.uint8 if six else torch.int8) and packed["w" + SCALE].shape == (
        n,
        rows,
        1,
    )
    assert ((back - weight).abs() <= packed["w" + SCALE] * 0.5001).all()
    assert torch.equal(unpack(pack({"w": back}, bits))["w"], back), (
        "what was in few bits already must not move again"
    )


@st.composite
def odd_weights(draw: st.DrawFn) -> torch.Tensor:
    """`[..., rows, cols]` with rows of zeros, of tiny and huge numbers, of one outlier, and of few levels."""
    cols = draw(st.sampled_from([32, 33, 34, 50, 64, 127, 256]))
    lead = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    weight = torch.randn(*lead, -(-SMALLEST // cols), cols, generator=generator)
    size = draw(st.sampled_from([1e-38, 1e-33, 1e-30, 1e-24, 1e-12, 1.0, 1e6, 1e18]))
    weight[..., 0, :] = 0.0
    weight[..., 1, :] *= size
    weight[..., 2, :] = 0.0
    weight[..., 2, 5] = size
    weight[..., 3, 7] = draw(st.sampled_from([4.0, 30.0, -1e4]))
    weight[..., 4, :] = weight[..., 4, :].sign() * size
    weight[..., 5, :] = weight[..., 5, :].round() * size
    return weight


@settings(deadline=None, max_examples=60)
@given(odd_weights())
def test_four_bits_hold_and_do_not_move_again(weight: torch.Tensor) -> None:
    packed = pack({"w": weight})
    back = unpack(packed)["w"]
    assert torch.equal(unpack(pack({"w": back}))["w"], back)
    assert torch.equal(rounded(weight, bits_of("w", weight)), back), "training must see what is shipped"
    if weight.shape[-1] % 2:  # no whole bytes: eight bits
        assert packed["w"].dtype == torch.int8 and packed["w" + SCALE].dtype == torch.float32
        return
    assert (
        packed["w"].shape == (*weight.shape[:-1], weight.shape[-1] // 2) and packed["w"].dtype == torch.uint8
    )
    assert packed["w" + SCALE4].shape == (*weight.shape[:-1], 1) and set(packed) == {"w", "w" + SCALE4}
    small, scale = to_integers(weight.numpy(), 4)
    fullest = np.abs(small).max(-1)
    assert (fullest[np.abs(weight.numpy()).max(-1) > 8 * SMALLEST_SCALE] == 7).all() and fullest.max() == 7
    again, scale_again = to_integers(back.numpy(), 4)
    assert (again == small).all() and (scale_again == scale)[fullest > 0].all()
    quick, scale_quick = to_integers(back.numpy(), 4, rounded_before=True)
    assert (quick == small).all() and (scale_quick == scale)[fullest > 0].all()


def by_the_book(row: np.ndarray) -> np.ndarray:
    """Four bits for one row `[cols]`, as the rule says it, in numpy alone."""
    best, least = row, np.inf
    for share in SHARES:
        whole = np.abs(row).max() / np.float32(7) * np.float32(share)
        scale = np.maximum(whole, np.float32(SMALLEST_SCALE))[None]
        scale = ((scale.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
        back = np.rint(row / scale).clip(-7, 7) * scale
        error = np.square(back - row).astype(np.float64).sum()
        if error < least:
            best, least = back, error
    return best


@settings(deadline=None, max_examples=15)
@given(odd_weights())
def test_the_rule_is_what_it_says(weight: torch.Tensor) -> None:
    rows = weight.reshape(-1, weight.shape[-1])[:40]
    want = np.stack([by_the_book(row) for row in rows.numpy()])
    assert torch.equal(rounded(rows, 4), torch.from_numpy(want))


@pytest.mark.parametrize(("bits", "error"), [(8, 0.008), (6, 0.03), (4, 0.112)])
def test_fewer_bits_err_more_but_no_more_than_said(bits: int, error: float) -> None:
    weight = torch.randn(512, 256, generator=torch.Generator().manual_seed(0))
    assert float((rounded(weight, bits) - weight).square().mean().sqrt()) < error
    assert torch.equal(rounded(weight, bits), unpack(pack({"w": weight}, bits))["w"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_gpu_rounds_alike(bits: int) -> None:
    weight = torch.randn(4096, 256, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rounded(weight.cuda(), bits).cpu(), rounded(weight, bits))


def test_the_vocoder_keeps_six_bits_and_old_files_are_read() -> None:
    weight = torch.randn(128, 64)
    packed = pack({"w": weight, "vocoder.w": weight})
    assert packed["w"].shape == (128, 32) and packed["vocoder.w"].shape == (128, 48)
    for bits, kind, cols in ((6, torch.uint8, 48), (8, torch.int8, 64)):
        old = pack({"w": weight, "vocoder.w": weight}, bits)
        assert old["w"].dtype == old["vocoder.w"].dtype == kind and old["w"].shape == (128, cols)
        back = unpack(old)
        assert set(back) == {"w", "vocoder.w"} and torch.equal(back["w"], rounded(weight, bits))


def test_four_bits_lie_two_in_a_byte() -> None:
    small = torch.randint(-7, 8, (3, 5, 34), dtype=torch.int8).numpy()
    packed = to_four_bits(small)
    assert packed.shape == (3, 5, 17) and (from_four_bits(packed) == small).all()


def test_six_bits_lie_four_in_three_bytes() -> None:
    small = torch.randint(-31, 32, (3, 5, 64), dtype=torch.int8).numpy()
    packed = to_six_bits(small)
    assert packed.shape == (3, 5, 48) and (from_six_bits(packed) == small).all()


def test_a_row_of_zeros_stays_zero() -> None:
    weight = torch.randn(128, 64)
    weight[5] = 0.0
    assert torch.equal(unpack(pack({"w": weight}))["w"][5], torch.zeros(64))


def test_integers_and_small_tensors_keep_their_form() -> None:
    tensors = {
        "ids": torch.arange(5),
        "gain": torch.rand(8192),
        "conv": torch.rand(4096, 4),
        "few": torch.rand(2, 80),
    }
    packed = pack(tensors)
    assert torch.equal(packed["ids"], tensors["ids"]) and set(packed) == set(tensors)
    assert all(packed[name].dtype == torch.bfloat16 for name in ("gain", "conv", "few"))


def test_weights_that_have_diverged_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"block\.w holds NaN or infinity"):
        pack({"block.w": torch.full((64, 64), float("nan"))})


def test_a_packed_checkpoint_loads_as_the_same_model_every_time(tmp_path) -> None:
    tokenizer = TextTokenizer.build(["one", "two"])
    torch.manual_seed(0)
    model = InteractionModel(preset("pico").with_(vocab_size=tokenizer.size))
    save_checkpoint(tmp_path / "once", model, tokenizer, {}, packed=True)
    first, _ = load_checkpoint(tmp_path / "once")
    assert first.state_dict().keys() == model.state_dict().keys()
    save_checkpoint(tmp_path / "twice", first, tokenizer, {}, packed=True)
    again, _ = load_checkpoint(tmp_path / "twice")
    for (name, one), two in zip(first.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    size = sum(t.nbytes for t in load_file(tmp_path / "once" / WEIGHTS).values())
    assert size < 0.65 * sum(p.numel() for p in model.parameters()) + 50_000
