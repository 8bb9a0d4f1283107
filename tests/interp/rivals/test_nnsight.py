"""nnsight sees in our own module what our cache holds, to the bit, and what it changes changes the same bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.nnsight_trace import see, with_residual, without_attention, without_head, wrap
from tml_lab.interp.cache import Cache, hook_names
from tml_lab.interp.hooks import Hook, HookFunction, run_with_hooks

pytest.importorskip("nnsight", reason="nnsight is not installed: pip install -e '.[rivals]'")


@pytest.fixture(scope="module")
def wrapped(cache: Cache) -> Any:
    """The model of the cache under nnsight."""
    return wrap(cache.model)


def embedded(cache: Cache) -> Tensor:
    return cache["hook_embed"][None]  # [1, positions, d_model]


def hooked(cache: Cache, name: str, function: HookFunction) -> Tensor:
    """Our logits with one hook."""
    return run_with_hooks(cache.model, cache.tokenizer, cache.recording, [(name, function)]).logits


def test_every_name_is_the_same_to_the_bit(cache: Cache, wrapped: Any) -> None:
    found = see(wrapped, embedded(cache), hook_names(cache.model.cfg))
    assert set(found) == set(hook_names(cache.model.cfg))
    for name, theirs in found.items():
        assert torch.equal(theirs.reshape(cache[name].shape), cache[name]), name
    logits = cache.model.text_logits(found["ln_final.hook_normalized"][0])
    assert torch.equal(logits, cache.logits)


@pytest.mark.parametrize("layer", [0, 2])
def test_a_block_without_attention_is_the_same_to_the_bit(layer: int, cache: Cache, wrapped: Any) -> None:
    theirs = cache.model.text_logits(without_attention(wrapped, embedded(cache), layer)[0])
    ours = hooked(cache, f"blocks.{layer}.hook_attn_out", lambda x, hook: 0 * x)
    assert torch.equal(ours, theirs) and not torch.equal(ours, cache.logits)


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 1), (2, 0)])
def test_a_head_less_is_the_same_to_the_bit(layer: int, head: int, cache: Cache, wrapped: Any) -> None:
    def silence(z: Tensor, hook: Hook) -> Tensor:
        z[:, head] = 0.0
        return z

    theirs = cache.model.text_logits(without_head(wrapped, embedded(cache), layer, head)[0])
    ours = hooked(cache, f"blocks.{layer}.attn.hook_z", silence)
    assert torch.equal(ours, theirs) and not torch.equal(ours, cache.logits)


def test_another_turns_residual_stream_is_the_same_to_the_bit(cache: Cache, wrapped: Any) -> None:
    """What a turn was before the last layers is put into another turn, of as many positions."""
    source, target = cache.tokens.where("audio_in", 2), cache.tokens.where("audio_in", 7)
    other = cache["resid_post", 1][source]  # [frames, d_model]

    def swap(x: Tensor, hook: Hook) -> Tensor:
        x[target] = other
        return x

    theirs = cache.model.text_logits(with_residual(wrapped, embedded(cache), 1, torch.as_tensor(target), other)[0])
    ours = hooked(cache, "blocks.1.hook_resid_post", swap)
    assert torch.equal(ours, theirs)
    assert torch.equal(ours[: target[0]], cache.logits[: target[0]]) and not torch.equal(ours, cache.logits)
