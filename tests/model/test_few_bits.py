"""Weights in few bits: small, close, and the same whenever they are read."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tml_kernels.rounding import from_six_bits, to_six_bits
from tml_lab.config import preset
from tml_lab.model.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from tml_lab.model.few_bits import SCALE, SMALLEST, pack, unpack
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(64, 200), st.integers(32, 300), st.integers(0, 99), st.sampled_from([6, 8]))
def test_every_weight_comes_back_within_half_a_step(n: int, rows: int, cols: int, seed: int, bits: int) -> None:
    weight = 50.0 ** (seed % 9 - 4) * torch.randn(n, rows, cols, generator=torch.Generator().manual_seed(seed))
    packed = pack({"w": weight}, bits)
    back = unpack(packed)["w"]
    if weight.numel() < SMALLEST:
        assert torch.equal(back, weight.bfloat16().float()) and len(packed) == 1
        return
    six = bits == 6 and cols % 4 == 0
    assert packed["w"].shape == ((n, rows, cols * 3 // 4) if six else (n, rows, cols))
    assert packed["w"].dtype == (torch.uint8 if six else torch.int8) and packed["w" + SCALE].shape == (n, rows, 1)
    assert ((back - weight).abs() <= packed["w" + SCALE] * 0.5001).all()
    assert torch.equal(unpack(pack({"w": back}, bits))["w"], back), "what was in few bits already must not move again"


def test_six_bits_lie_four_in_three_bytes() -> None:
    small = torch.randint(-31, 32, (3, 5, 64), dtype=torch.int8).numpy()
    packed = to_six_bits(small)
    assert packed.shape == (3, 5, 48) and (from_six_bits(packed) == small).all()


def test_a_row_of_zeros_stays_zero() -> None:
    weight = torch.randn(128, 64)
    weight[5] = 0.0
    assert torch.equal(unpack(pack({"w": weight}))["w"][5], torch.zeros(64))


def test_integers_and_small_tensors_keep_their_form() -> None:
    tensors = {"ids": torch.arange(5), "gain": torch.rand(8192), "conv": torch.rand(4096, 4), "few": torch.rand(2, 80)}
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
    assert size < 0.85 * sum(p.numel() for p in model.parameters()) + 50_000
