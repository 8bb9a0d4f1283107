"""The cache: every name, its shape, the invariants of the forward pass, and agreement with the session."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.attention import attention_by_stream
from tml_lab.interp.cache import (
    LAYER_HOOKS,
    Cache,
    InterpError,
    full_name,
    hook_names,
    run_with_cache,
)
from tml_lab.interp.hooks import run_with_hooks
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.tap import Tap
from tml_lab.stream.recording import RecordingError
from tml_lab.stream.session import Session


def test_every_hook_name_is_listed_and_there(cache: Cache) -> None:
    cfg = cache.model.cfg
    n, d = len(cache.tokens), cfg.d_model
    shapes: dict[str, tuple[int, ...]] = {"hook_embed": (n, d), "ln_final.hook_normalized": (n, d)}
    for layer in range(cfg.n_layers):
        for inner in ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post"):
            shapes[f"blocks.{layer}.{inner}"] = (n, d)
        shapes[f"blocks.{layer}.attn.hook_pattern"] = (cfg.heads(layer)[0], n, n)
        heads, kv_heads, d_head = cfg.heads(layer)
        for inner, count in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("z", heads)):
            shapes[f"blocks.{layer}.attn.hook_{inner}"] = (n, count, d_head)
        shapes[f"blocks.{layer}.mlp.hook_expert_indices"] = (n, cfg.top_k)
        shapes[f"blocks.{layer}.mlp.hook_shared_weights"] = (n, cfg.n_shared_experts)
        shapes[f"blocks.{layer}.mlp.hook_expert_weights"] = (n, cfg.top_k)
    assert [*cache] == [name for name in hook_names(cfg) if not name.endswith("pattern")]
    assert {name: tuple(cache[name].shape) for name in hook_names(cfg)} == shapes
    assert all(torch.isfinite(cache[name]).all() for name in cache)
    for short, inner in LAYER_HOOKS.items():
        assert torch.equal(cache[short, 1], cache[f"blocks.1.{inner}"])


def test_a_dense_layer_has_no_names_for_experts(cache: Cache) -> None:
    names = hook_names(cache.model.cfg.with_(n_dense_layers=1))
    assert not [name for name in names if name.startswith("blocks.0.mlp.")]
    assert "blocks.1.mlp.hook_expert_weights" in names


def test_the_residual_stream_adds_up(cache: Cache) -> None:
    before = cache["hook_embed"]
    for layer in range(cache.model.cfg.n_layers):
        assert torch.equal(cache["resid_pre", layer], before)
        assert torch.equal(cache["resid_mid", layer], cache["resid_pre", layer] + cache["attn_out", layer])
        assert torch.equal(cache["resid_post", layer], cache["resid_mid", layer] + cache["mlp_out", layer])
        assert cache["attn_out", layer].abs().max() > 0 and cache["mlp_out", layer].abs().max() > 0
        before = cache["resid_post", layer]
    final = cache.model.backbone.norm(before)
    torch.testing.assert_close(cache["ln_final.hook_normalized"], final)
    torch.testing.assert_close(cache.logits, cache.model.text_logits(final))


def test_rows_of_a_pattern_sum_to_one_and_look_back_only(cache: Cache) -> None:
    for layer in range(cache.model.cfg.n_layers):
        pattern = cache["pattern", layer]
        torch.testing.assert_close(pattern.sum(-1), torch.ones(pattern.shape[:2]))
        assert not pattern.triu(1).any()


def test_experts_are_distinct_and_their_weights_positive(cache: Cache) -> None:
    for layer in range(cache.model.cfg.n_layers):
        chosen, weights = cache["experts", layer], cache["expert_weights", layer]
        assert (chosen.sort(-1).values.diff(dim=-1) > 0).all()
        assert (weights > 0).all()


@pytest.mark.parametrize("layer", [0, 2])
def test_pooled_attention_is_what_the_session_saw(
    layer: int, session: Session, cache: Cache, model: InteractionModel
) -> None:
    recording = cache.recording
    watched = Session(model, session.tokenizer, seed=recording.seed, attention=(layer, 1))
    for turn in range(recording.turns):
        live = watched.step(*recording.inputs.turn(turn)).attention
        pooled = attention_by_stream(cache, layer, 1, turn)
        assert live is not None and pooled.keys() == live.keys()
        assert sum(weights.sum() for weights in pooled.values()) == pytest.approx(1.0, abs=1e-5)
        for stream, weights in pooled.items():
            assert weights.shape == (turn + 1,)
            np.testing.assert_allclose(weights, live[stream], atol=1e-5)
    if layer == 2:  # the global layer reaches back to a picture
        assert pooled["video_in"].any()


def test_the_taps_change_nothing(cache: Cache) -> None:
    from tml_lab.stream.replay import offline_logits

    assert torch.equal(cache.logits, offline_logits(cache.recording, cache.model))


@pytest.mark.parametrize("layer", range(3))
def test_a_pattern_computed_afterwards_is_the_one_that_was_used(layer: int, cache: Cache) -> None:
    kept = run_with_cache(cache.model, cache.tokenizer, cache.recording, names=[full_name("pattern", layer)])
    used = kept["pattern", layer]  # [heads, query, key]
    torch.testing.assert_close(cache["pattern", layer], used, atol=1e-6, rtol=0)
    some = np.array([0, 7, 100])
    torch.testing.assert_close(cache.pattern(layer, some), used[:, some], atol=1e-6, rtol=0)
    assert torch.equal(kept.pattern(layer, some), used[:, some])


def test_only_the_names_asked_for_are_kept(cache: Cache) -> None:
    name = "blocks.1.hook_resid_post"
    small = run_with_cache(cache.model, cache.tokenizer, cache.recording, names=[name])
    assert list(small) == [name] and len(small) == 1
    assert torch.equal(small[name], cache[name])
    with pytest.raises(InterpError, match="was not kept"):
        small["pattern", 0]


def test_only_what_is_kept_is_held_while_the_pass_goes_on(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the patterns of all layers would pile up, whatever was asked for."""
    taps: list[Tap] = []

    class Seen(Tap):
        def __init__(self, *args, **named) -> None:
            super().__init__(*args, **named)
            if named:  # the ends of the model have taps of their own, which hold nothing
                taps.append(self)

    monkeypatch.setattr("tml_lab.interp.watch.Tap", Seen)
    run = (cache.model, cache.tokenizer, cache.recording)
    run_with_cache(*run, names=["blocks.1.hook_resid_post"])
    assert [set(tap) - {"key_pos", "experts"} for tap in taps] == [{"resid_post"}]  # other layers have no tap
    taps.clear()
    run_with_hooks(*run, [("blocks.0.hook_attn_out", lambda x, hook: None)])
    assert len(taps) == 1 and not set().union(*taps) - {"key_pos", "experts"}


def test_what_is_not_there_is_one_sentence(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    run = (cache.model, cache.tokenizer, cache.recording)
    with pytest.raises(InterpError, match=r"no layer 3: the model has layers 0\.\.2"):
        cache["resid_post", 3]
    with pytest.raises(InterpError, match="nothing called 'patern'"):
        cache["patern", 0]
    with pytest.raises(InterpError, match=r"did you mean 'blocks\.0\.attn\.hook_pattern'"):
        cache["blocks.0.hook_patern"]
    with pytest.raises(InterpError, match=r"no head 2 in layer 0: it has heads 0\.\.1"):
        attention_by_stream(cache, 0, 2, 0)
    with pytest.raises(InterpError, match="no turn 999"):
        attention_by_stream(cache, 0, 0, 999)
    with pytest.raises(InterpError, match="nothing is called 'blocks"):
        run_with_cache(*run, names=["blocks.7.hook_resid_post"])
    monkeypatch.setattr("tml_lab.interp.cache.MAX_BYTES", 1000)
    with pytest.raises(InterpError, match="patterns of 3 layers"):
        run_with_cache(*run, names=[full_name("pattern", layer) for layer in range(3)])
    monkeypatch.setattr("tml_lab.interp.pattern.MAX_BYTES", 1000)
    with pytest.raises(InterpError, match="ask for fewer queries"):
        cache["pattern", 1]


def test_recordings_that_cannot_be_run(cache: Cache, session: Session) -> None:
    empty = Session(cache.model, cache.tokenizer).recording()
    with pytest.raises(InterpError, match="no turns"):
        run_with_cache(cache.model, cache.tokenizer, empty)
    fork = cache.recording.fork(1.0, {"audio": np.zeros(TURN_SAMPLES, np.float32)})
    with pytest.raises(RecordingError, match="replay the recording first"):
        run_with_cache(cache.model, cache.tokenizer, fork)


def test_other_weights_are_warned_of(cache: Cache) -> None:
    foreign = dataclasses.replace(cache.recording, checkpoint={"name": "pico", "sha256": "0" * 16})
    with pytest.warns(UserWarning, match="other than this model's"):
        run_with_cache(cache.model, cache.tokenizer, foreign)


def test_a_model_in_training_stays_so(cache: Cache) -> None:
    cache.model.train()
    again = run_with_cache(cache.model, cache.tokenizer, cache.recording, names=[])
    assert cache.model.training
    cache.model.eval()
    assert torch.equal(again.logits, cache.logits)
