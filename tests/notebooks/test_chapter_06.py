"""Chapter 06 with every exercise solved, on the shipped nano: its own voice, by a learner's parts."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "06_sound_out.ipynb"
SOLVED = {
    "on_the_path": """
def on_the_path(noise, target, t):
    return torch.lerp(noise, target, t[:, None]), target - noise
""",
    "follow": """
def follow(velocity, x, n_steps):
    for step in range(n_steps):
        x = x + (1 / n_steps) * velocity(x, step)
    return x
""",
    "quantize_voice": """
def quantize_voice(mel):
    step = (VOICE_MAX - VOICE_MIN) / 15
    return torch.floor((mel - VOICE_MIN) / step + 0.5).clamp(0, 15).to(torch.uint8)
""",
    "overlap_add": """
def overlap_add(frames, overlap, hop):
    sounds = F.pad(overlap, (0, frames.shape[1] * hop))
    for f, windows in enumerate(frames.unbind(1)):
        sounds[:, f * hop : f * hop + windows.shape[1]] += windows
    return sounds.split([frames.shape[1] * hop, overlap.shape[1]], dim=1)
""",
}


def test_chapter_06_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, SOLVED)[0].count("yours now runs inside") == 4
