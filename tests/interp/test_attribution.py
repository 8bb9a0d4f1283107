"""Attribution on the shipped nano: nothing is left over, as exactly as its logits are known."""

from __future__ import annotations

import numpy as np
import torch

from tml_lab.interp.attribution import attribute_decision
from tml_lab.interp.cache import Cache, run_with_cache
from tml_lab.interp.decision import decision_direction
from tml_lab.model.checkpoint import checkpoint_dir, load_checkpoint
from tml_lab.signal.audio import read_audio
from tml_lab.stream.recording import Inputs, Recording
from tml_lab.stream.replay import replay


def exact_difference(cache: Cache) -> np.ndarray:
    """`<speak>` less `<silent>` from the last residual stream, in double precision: float64 [turns]."""
    model = cache.model
    last = cache["resid_post", model.cfg.n_layers - 1][torch.as_tensor(cache.decision_positions)].double()
    norm = model.backbone.norm
    hidden = last * (last.square().mean(-1, keepdim=True) + norm.eps).rsqrt() * norm.weight.double()
    return (hidden @ decision_direction(model, cache.tokenizer).double()).detach().numpy()


def test_the_nanos_parts_sum_to_its_decisions() -> None:
    model, tokenizer = load_checkpoint("nano")
    sound = read_audio(checkpoint_dir("nano").parents[1] / "recordings" / "demo" / "repeat_numbers.flac")
    asked = ((1, "repeat every number you hear"),)
    recording = replay(Recording(Inputs(sound, asked)), model, tokenizer)
    assert "<speak>" in recording.decisions
    cache = run_with_cache(model, tokenizer, recording)
    found = attribute_decision(cache)
    total = found.values.astype(np.float64).sum(0)
    np.testing.assert_allclose(total, exact_difference(cache), atol=1e-5, rtol=0)
    np.testing.assert_allclose(total, found.logit_difference, atol=1e-5, rtol=1e-6)
