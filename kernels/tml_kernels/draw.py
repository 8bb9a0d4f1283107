"""Shapes to pixels: capsules, boxes and polygons with soft edges, painted in order over a background.

A body's limbs, a letter's strokes and a ball are a few numbers a frame, a frame's pixels are 57,600: drawn where the
model is trained, a second of pictures travels as a hundredth of its size. Torch reference, CPU and Triton kernels,
dispatch. Edges: a pixel is covered by as much as its centre lies inside, over one pixel's width.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

NOTHING, CAPSULE, BOX, POLYGON = 0, 1, 2, 3
NUMBERS = 11
"""Of a shape: kind, x0, y0, x1, y1, r0, r1, red, green, blue, opacity; lengths in pixels, colours 0..255, opacity 0..1.

    CAPSULE  from (x0, y0) with radius r0 to (x1, y1) with radius r1; a disc where both are one point
    BOX      about (x0, y0), r0 wide and r1 high to each side, turned by x1 radians
    POLYGON  regular, of r1 sides, about (x0, y0), its corners r0 away, turned by x1 radians
"""
BLOCK = 128
"""Pixels of one program of the Triton kernel."""
_TURN = 6.283185307179586


def draw(background: Tensor, shapes: Tensor) -> Tensor:
    """Paint each frame's shapes over its background, the first one first.

    Args:
        background: `[frames, height, width, 3]` float32, 0..255; not changed.
        shapes: `[frames, shapes, 11]` float32, see `NUMBERS`; a kind of 0 paints nothing.

    Returns: `[frames, height, width, 3]` float32. Raises ValueError when shapes or dtypes do not fit. No gradient.
    """
    fits = background.ndim == 4 and background.shape[3] == 3 and shapes.ndim == 3 and shapes.shape[2] == NUMBERS
    if not fits or len(shapes) != len(background) or {shapes.dtype, background.dtype} != {torch.float32}:
        raise ValueError(
            f"draw: background [frames, height, width, 3] and shapes [frames, shapes, {NUMBERS}], both float32; got "
            f"{tuple(background.shape)} {background.dtype} and {tuple(shapes.shape)} {shapes.dtype}."
        )
    if background.is_cuda and triton_available():
        return draw_triton(background, shapes)
    return draw_cpu(background, shapes) if background.device.type == "cpu" else draw_reference(background, shapes)


def draw_reference(background: Tensor, shapes: Tensor) -> Tensor:
    """Plain torch version of `draw` (same arguments); any device, float64 too."""
    _, height, width, _ = background.shape
    y = torch.arange(height, device=background.device, dtype=background.dtype)[:, None] + 0.5  # [height, 1]
    x = torch.arange(width, device=background.device, dtype=background.dtype) + 0.5  # [width]
    canvas = background.clone()
    for shape in shapes.unbind(1):  # each [frames, 11]
        numbers = shape[:, :, None, None].unbind(1)  # eleven of [frames, 1, 1]
        inside = (0.5 - _distance(x, y, *numbers[:7])).clamp(0.0, 1.0) * numbers[10]  # [frames, height, width]
        canvas += inside[..., None] * (shape[:, None, None, 7:10] - canvas)
    return canvas


def _distance(x: Tensor, y: Tensor, kind: Tensor, x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, r0: Tensor,
              r1: Tensor) -> Tensor:  # fmt: skip
    """Pixels from each point to the shape's edge, negative inside: `[frames, height, width]`."""
    dx, dy = x - x0, y - y0  # [frames, 1, width], [frames, height, 1]
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    along = (((x1 - x0) * dx + (y1 - y0) * dy) / length.clamp(min=1e-6)).clamp(0.0, 1.0)
    capsule = torch.hypot(dx - along * (x1 - x0), dy - along * (y1 - y0)) - (r0 + along * (r1 - r0))
    u, v = dx * torch.cos(x1) + dy * torch.sin(x1), dy * torch.cos(x1) - dx * torch.sin(x1)
    box = torch.maximum(u.abs() - r0, v.abs() - r1)
    sector = _TURN / r1.clamp(min=3.0)
    angle = torch.atan2(dy, dx) - x1
    angle = angle - torch.floor(angle / sector) * sector - sector / 2  # from the middle of the nearest side
    polygon = torch.hypot(dx, dy) * torch.cos(angle) - r0 * torch.cos(sector / 2)
    nothing = torch.full_like(capsule, 1.0)
    return torch.where(
        kind == CAPSULE, capsule, torch.where(kind == BOX, box, torch.where(kind == POLYGON, polygon, nothing))
    )


def draw_cpu(background: Tensor, shapes: Tensor) -> Tensor:
    """Compiled loops over the pixels near each shape, float32 on a CPU."""
    from tml_kernels.draw_loops import paint

    canvas = background.clone(memory_format=torch.contiguous_format)
    paint(canvas.numpy(), shapes.contiguous().numpy())
    return canvas


def draw_triton(background: Tensor, shapes: Tensor) -> Tensor:
    """A program paints all shapes over a few pixels of one frame. CUDA tensors, or Triton's interpreter."""
    kernel, triton = _build_kernel()
    frames, height, width, _ = background.shape
    canvas = torch.empty(background.shape, dtype=torch.float32, device=background.device)
    if canvas.numel():
        grid = (frames, triton.cdiv(height * width, BLOCK))
        kernel[grid](
            background.contiguous(), shapes.contiguous(), canvas, height * width, width, shapes.shape[1], NUMBERS, BLOCK
        )
    return canvas


@functools.cache
def _build_kernel() -> tuple[Any, Any]:
    """The kernel, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(  # pyright: ignore
        background_ptr, shapes_ptr, out_ptr, n_pixels, width, n_shapes, NUMBERS: tl.constexpr, BLOCK: tl.constexpr
    ):
        frame = tl.program_id(0).to(tl.int64)
        pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        there = pixel < n_pixels
        place = (frame * n_pixels + pixel) * 3
        red = tl.load(background_ptr + place, mask=there, other=0.0)
        green = tl.load(background_ptr + place + 1, mask=there, other=0.0)
        blue = tl.load(background_ptr + place + 2, mask=there, other=0.0)
        x = (pixel % width).to(tl.float32) + 0.5
        y = (pixel // width).to(tl.float32) + 0.5
        for i in range(n_shapes):
            shape = shapes_ptr + (frame * n_shapes + i) * NUMBERS
            kind = tl.load(shape)
            if kind != 0.0:
                x0, y0 = tl.load(shape + 1), tl.load(shape + 2)
                x1, y1 = tl.load(shape + 3), tl.load(shape + 4)
                r0, r1 = tl.load(shape + 5), tl.load(shape + 6)
                dx, dy = x - x0, y - y0
                distance = tl.zeros_like(x)
                if kind == 1.0:
                    ex, ey = x1 - x0, y1 - y0
                    along = (ex * dx + ey * dy) / tl.maximum(ex * ex + ey * ey, 1e-6)
                    along = tl.minimum(tl.maximum(along, 0.0), 1.0)
                    px, py = dx - along * ex, dy - along * ey
                    distance = tl.sqrt(px * px + py * py) - (r0 + along * (r1 - r0))
                elif kind == 2.0:
                    across = dx * tl.cos(x1) + dy * tl.sin(x1)
                    down = dy * tl.cos(x1) - dx * tl.sin(x1)
                    distance = tl.maximum(tl.abs(across) - r0, tl.abs(down) - r1)
                else:
                    # no arc tangent on every backend: all sides are tried, the one that lies furthest out counts
                    distance = tl.zeros_like(x) - 1e30
                    for side in range(r1.to(tl.int32)):
                        angle = x1 + (side + 0.5) * 6.283185307179586 / r1
                        distance = tl.maximum(distance, dx * tl.cos(angle) + dy * tl.sin(angle))
                    distance -= r0 * tl.cos(3.141592653589793 / r1)
                inside = tl.minimum(tl.maximum(0.5 - distance, 0.0), 1.0) * tl.load(shape + 10)
                red += inside * (tl.load(shape + 7) - red)
                green += inside * (tl.load(shape + 8) - green)
                blue += inside * (tl.load(shape + 9) - blue)
        tl.store(out_ptr + place, red, mask=there)
        tl.store(out_ptr + place + 1, green, mask=there)
        tl.store(out_ptr + place + 2, blue, mask=there)

    return kernel, triton
