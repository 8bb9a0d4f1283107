"""Shapes to pixels: the compiled loops and the Triton kernel against the reference, and what a picture must show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tml_kernels.draw import BOX, CAPSULE, POLYGON, draw, draw_reference

pytest.importorskip("numba", reason="Numba does not run here")

SCENE = """
def scene(frames, n, height, width, seed, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    def uniform(low, high):
        return low + (high - low) * torch.rand(frames, n, generator=g)
    kind = torch.randint(0, 4, (frames, n), generator=g).float()
    r1 = torch.where(kind == 3, torch.randint(3, 7, (frames, n), generator=g).float(), uniform(0.0, 12.0))
    x1 = torch.where(kind == 1, uniform(-20, width + 20), uniform(-4, 4))
    columns = [kind, uniform(-20, width + 20), uniform(-20, height + 20), x1, uniform(-20, height + 20),
               uniform(0.5, 15), r1, uniform(0, 255), uniform(0, 255), uniform(0, 255), uniform(0, 1)]
    return 255 * torch.rand(frames, height, width, 3, generator=g), torch.stack(columns, -1)
"""
HERE: dict[str, Any] = {"torch": torch}
exec(SCENE, HERE)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(0, 9), st.integers(1, 40), st.integers(1, 50), st.integers(0, 99))
def test_the_loops_draw_what_the_reference_draws(frames: int, n: int, height: int, width: int, seed: int) -> None:
    background, shapes = HERE["scene"](frames, n, height, width, seed)
    before = background.clone()
    drawn = draw(background, shapes)
    exact = draw_reference(background.double(), shapes.double())
    assert torch.equal(background, before)
    assert float((drawn.double() - exact).abs().max()) < 0.02  # of 255: far below a pixel's step
    assert torch.equal(draw(background[:1], shapes[:1])[0], drawn[0])  # no frame knows another


def picture(*shape: float) -> Tensor:
    """One white shape on black: opacity `[40, 60]`."""
    row = torch.tensor([[[*shape, 255.0, 255.0, 255.0, 1.0]]])
    return draw(torch.zeros(1, 40, 60, 3), row)[0, :, :, 0] / 255


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ((CAPSULE, 30, 20, 30, 20, 9, 9), 3.14159 * 81),
        ((CAPSULE, 20, 20, 40, 20, 5, 5), 20 * 10 + 3.14159 * 25),
        ((BOX, 30, 20, 0.6, 0, 10, 6), 20 * 12),
        ((POLYGON, 30, 20, 0.3, 0, 12, 3), 3 * 3**0.5 / 4 * 144),
        ((POLYGON, 30, 20, 0.0, 0, 12, 4), 2 * 144),
    ],
)
def test_a_shape_covers_its_area_about_its_centre(shape: tuple[float, ...], area: float) -> None:
    covered = picture(*shape)
    assert float(covered.sum()) == pytest.approx(area, rel=0.03)
    x, y = torch.arange(60) + 0.5, torch.arange(40) + 0.5
    assert float((covered * x).sum() / covered.sum()) == pytest.approx(30, abs=0.2)
    assert float((covered * y[:, None]).sum() / covered.sum()) == pytest.approx(20, abs=0.2)


def test_the_last_one_painted_lies_on_top_and_opacity_mixes() -> None:
    red = [CAPSULE, 5, 5, 5, 5, 4, 4, 255, 0, 0, 1]
    blue = [CAPSULE, 5, 5, 5, 5, 4, 4, 0, 0, 255, 0.5]
    pixel = draw(torch.zeros(1, 10, 10, 3), torch.tensor([[red, blue]], dtype=torch.float32))[0, 5, 5]
    assert pixel.tolist() == [127.5, 0.0, 127.5]


def test_far_away_and_not_a_number_paint_nothing() -> None:
    for x in (1e30, -1e30, float("nan"), float("inf")):
        assert float(picture(CAPSULE, x, 20, x, 20, 5, 5).nan_to_num().sum()) == 0
    with pytest.raises(ValueError, match=r"shapes \[frames, shapes, 11\]"):
        draw(torch.zeros(1, 4, 4, 3), torch.zeros(1, 2, 10))


def test_triton(check_kernel: Callable[[str], None]) -> None:
    check_kernel(
        SCENE
        + """
from tml_kernels.draw import draw_reference, draw_triton
for frames, n, height, width in ((1, 0, 3, 5), (2, 7, 20, 30), (3, 5, 17, 13)):
    background, shapes = scene(frames, n, height, width, frames)
    exact = draw_reference(background.double(), shapes.double())
    drawn = draw_triton(background.to(device), shapes.to(device)).cpu()
    assert float((drawn.double() - exact).abs().max()) < 0.05, (frames, n)
    strided = torch.stack([background, background], -1)[..., 0]
    assert torch.equal(draw_triton(strided.to(device), shapes.to(device)).cpu(), drawn)
"""
    )
