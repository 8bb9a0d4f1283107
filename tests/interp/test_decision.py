"""Decisions and the lens agree with the model's own logits and with the live session."""

from __future__ import annotations

import numpy as np
import torch

from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.interp.decision import decision, decision_lens
from tml_lab.model.text import SILENT, SPEAK


def test_offline_decisions_are_the_sessions(cache: Cache) -> None:
    found, recording = decision(cache), cache.recording
    np.testing.assert_allclose(found.p_speak, recording.p_speak, atol=1e-5)
    assert found.names == recording.decisions
    assert {SILENT, SPEAK} <= set(found.names)  # both occur, else this test would show little
    assert found.logits.shape == (recording.turns, 4)
    sure = found.logit_difference > 0
    assert (found.logits[:, 1] - found.logits[:, 0] > 0).tolist() == sure.tolist()


def test_the_lens_ends_in_the_real_logits(cache: Cache) -> None:
    lens, found = decision_lens(cache), decision(cache)
    assert lens.shape == (cache.model.cfg.n_layers, cache.turns) and lens.dtype == np.float32
    np.testing.assert_allclose(lens[-1], found.logit_difference, atol=1e-5)
    assert np.abs(lens[0] - lens[-1]).max() > 0.1  # the layers in between do something


def test_the_lens_reads_the_residual_stream_of_its_own_layer(cache: Cache) -> None:
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(cache.model.cfg.n_layers)]
    edited = run_with_cache(cache.model, cache.tokenizer, cache.recording, names)
    edited.tensors[names[1]] = torch.zeros_like(edited.tensors[names[1]])
    lens, whole = decision_lens(edited), decision_lens(cache)
    assert not lens[1].any()
    np.testing.assert_array_equal(np.delete(lens, 1, 0), np.delete(whole, 1, 0))
