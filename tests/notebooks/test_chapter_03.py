"""Chapter 03 with every exercise solved, on the shipped nano: what it says of attention is said of trained weights."""

from __future__ import annotations

import pytest

from tests.notebooks.conftest import RunChapter

pytest.importorskip("numba", reason="Numba does not run here")
NOTEBOOK = "03_sight.ipynb"
SOLVED = {
    "turns_to_patches": """
def turns_to_patches(pixels):
    turns, _, height, width, _ = pixels.shape
    rows, columns = -(-height // PATCH), -(-width // PATCH)
    full = F.pad(pixels.float(), (0, 0, 0, columns * PATCH - width, 0, rows * PATCH - height), value=PAD_VALUE)
    full = (full - IMAGE_MEAN * 255.0) / (IMAGE_STD * 255.0)
    strips = torch.cat(full.split(PATCH, dim=3), dim=1) if columns == 1 else torch.stack(full.split(PATCH, 3), 1)
    strips = strips.view(turns, columns, 2, rows, PATCH, PATCH, 3).permute(0, 3, 1, 2, 4, 5, 6)
    return strips.reshape(-1, 2, PATCH, PATCH, 3)
""",
    "fold": """
def fold(x, time, space):
    x = x.unflatten(3, (-1, space)).unflatten(2, (-1, space)).unflatten(1, (-1, time))
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
""",
    "project": """
def project(points, view):
    x, y, z = points.T
    c, s = np.cos(view.yaw), np.sin(view.yaw)
    x, z = c * x + s * z, c * z - s * x
    c, s = np.cos(view.tilt), np.sin(view.tilt)
    y, near = c * y - s * z, c * z + s * y
    size = view.scale / (1 - near / 4)
    return np.stack([view.x + size * x, view.y - size * y, near], axis=1)
""",
}


def test_chapter_03_solved(run_chapter: RunChapter) -> None:
    assert run_chapter(NOTEBOOK, SOLVED)[0].count("yours now runs inside") == 3
