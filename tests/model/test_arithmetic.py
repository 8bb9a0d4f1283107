"""Counting parameters, bytes and time without a model: against real modules, and against what is published."""

from __future__ import annotations

import random

import pytest
import torch

from tml_lab.config import PRESETS, VIDEO_SIZE, preset
from tml_lab.model.arithmetic import (
    DEVICES,
    Load,
    backbone_parameters,
    cache_bytes,
    exchange_seconds,
    experts_touched,
    passes,
    ring_slots,
    sessions_held,
    text_parameters,
    turn_seconds,
)
from tml_lab.model.backbone import Backbone
from tml_lab.model.export import inkling_config
from tml_lab.model.state import new_state


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_count_is_the_modules(name: str) -> None:
    """Every preset's backbone, built without memory, has as many parameters as counted."""
    with torch.device("meta"):
        backbone = Backbone(preset(name))
    assert sum(p.numel() for p in backbone.parameters()) == backbone_parameters(preset(name))


@pytest.mark.parametrize("name", ["inkling_small", "inkling"])
def test_the_count_is_that_of_transformers(name: str) -> None:
    """The text part of transformers' Inkling has the same number, but for the balancing bias, a parameter there."""
    modeling = pytest.importorskip("transformers.models.inkling.modeling_inkling")
    from transformers.models.inkling.configuration_inkling import InklingTextConfig

    cfg = preset(name)
    with torch.device("meta"):
        theirs = modeling.InklingForCausalLM(InklingTextConfig(**inkling_config(cfg)["text_config"]))
    ours = text_parameters(cfg)
    biases = sum(p.numel() for n, p in theirs.named_parameters() if n.endswith("e_score_correction_bias"))
    assert sum(p.numel() for p in theirs.parameters()) - biases == ours


@pytest.mark.parametrize(("name", "total", "active"), [("inkling_small", 276, 12), ("inkling", 975, 41)])
def test_the_published_numbers(name: str, total: int, active: int) -> None:
    """The model cards count as if every layer had experts; the first two are dense, so the files are smaller."""
    cfg = preset(name).with_(n_dense_layers=0)
    assert round(text_parameters(cfg) / 1e9) == total
    assert round(text_parameters(cfg, cfg.top_k) / 1e9) == active
    assert text_parameters(preset(name)) < text_parameters(cfg)


def test_the_rings_are_the_sessions() -> None:
    """A full cache has the bytes of the state that a session allocates."""
    cfg = preset("pico")
    state = new_state(cfg)
    held = sum(t.numel() * 4 for name, t in state.items() if name.endswith((".k", ".v")))
    assert cache_bytes(cfg, 10**9, number=4) == held
    assert cache_bytes(cfg, 10, number=4) < held
    assert ring_slots(cfg, 0) == state["0.k"].shape[2]


def test_experts_touched_is_what_dice_say() -> None:
    """1,000 throws of 17 tokens at 2 of 10 experts."""
    rng = random.Random(0)
    seen = [len({e for _ in range(17) for e in rng.sample(range(10), 2)}) for _ in range(1000)]
    assert abs(sum(seen) / 1000 - experts_touched(10, 2, 17)) < 0.05
    assert experts_touched(10, 2, 1) == pytest.approx(2)


def test_passes_are_the_sessions() -> None:
    """Silent: one pass of P + 5 tokens. Speaking two words: the decision, the words, three pieces of voice."""
    n_patches = (VIDEO_SIZE[0] // 40) * (VIDEO_SIZE[1] // 40)
    assert passes(0, n_patches, 0, False) == [17]
    assert passes(3, 0, 2, True) == [8, 1, 1, 1, 1, 1, 1]


def test_time_and_room() -> None:
    """More sessions take longer, more devices hold more, the switch beats the ring where pieces are small."""
    cfg, h200 = preset("inkling_small"), DEVICES["H200"]
    load = Load()
    assert turn_seconds(cfg, h200, 8, 64, load) > turn_seconds(cfg, h200, 8, 1, load)
    assert sessions_held(cfg, h200, 1, load) == 0  # 527 GB of weights
    few, many = sessions_held(cfg, h200, 8, load), sessions_held(cfg, h200, 16, load)
    assert 0 < few < many
    assert turn_seconds(cfg, h200, 8, few, load) <= 0.2
    assert exchange_seconds(1e5, h200, 8, "switch", 2e-6) < exchange_seconds(1e5, h200, 8, "ring", 2e-6)
    assert exchange_seconds(1e5, h200, 1, "ring", 2e-6) == 0
    with pytest.raises(ValueError, match="choose one of ring, switch"):
        exchange_seconds(1e5, h200, 8, "pigeon", 2e-6)
