"""Chapter 04 with every exercise solved, on the shipped nano; and with none, on a small random model."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "04_attention.ipynb"
SOLVED = {
    "sight": """
def sight(pos, key_pos, sinks, window, extent):
    distance = (pos.unsqueeze(-1) - key_pos.unsqueeze(1)).unsqueeze(1)
    seen = (distance < window) | (key_pos < sinks)[:, None, None]
    unseen = torch.where(seen & (distance >= 0), 0.0, -torch.inf)
    return unseen, distance.clamp(0, extent - 1), ~((distance >= 0) & (distance < extent))
""",
    "relative_bias": """
def relative_bias(r, rel, distance, beyond):
    per_distance = torch.einsum("bhnr,re->bhne", r, rel)
    index = distance.expand(-1, r.shape[1], -1, -1)
    return torch.where(beyond, 0.0, per_distance.take_along_dim(index, -1))
""",
    "causal_conv": """
def causal_conv(x, tail, weight):
    held = torch.cat([tail, x], 1)
    seen = held.unfold(1, weight.shape[1], 1)  # [b, tokens, channels, kernel]
    return x + (seen * weight).sum(-1), held[:, x.shape[1] :]
""",
    "slot_of": """
def slot_of(pos, slots, sinks):
    return torch.where(pos < sinks, pos, (pos - sinks).remainder(slots - sinks) + sinks)
""",
    "positions_held": """
def positions_held(next_pos, slots, sinks):
    slot, last, ring = torch.arange(slots)[None], next_pos[:, None] - 1, slots - sinks
    rounds = (last - slot).div(ring, rounding_mode="floor")
    newest = torch.where(slot < sinks, slot, slot + rounds * ring)
    return torch.where((newest > last) | (newest < 0) | ((newest < sinks) & (slot >= sinks)), -1, newest)
""",
}


@pytest.mark.slow
def test_chapter_04_solved(run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK, SOLVED)
    assert out.count("yours now runs inside") == 5 and "not started" not in out


def test_chapter_04_on_a_small_model(small_nano: None, run_chapter: RunChapter) -> None:
    out, _ = run_chapter(NOTEBOOK)
    assert out.count("not started") == 5
