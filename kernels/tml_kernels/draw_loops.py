"""The CPU's side of `draw`: for each shape only the pixels near it (Numba)."""

from __future__ import annotations

import numpy as np

from tml_kernels.weights import jit

TURN = np.float32(6.283185307179586)


@jit
def paint(canvas, shapes):
    """`canvas [frames, height, width, 3]` is painted over by `shapes [frames, shapes, 11]`, in order."""
    for frame in range(len(shapes)):
        for i in range(shapes.shape[1]):
            if shapes[frame, i, 0] != 0.0:
                paint_one(canvas[frame], shapes[frame, i])


@jit
def reach(shape):
    """The rectangle outside of which the shape paints nothing: left, top, right, bottom in pixels."""
    kind, x0, y0, x1, y1, r0, r1 = shape[:7]
    if kind == 1.0:
        r = max(r0, r1) + np.float32(1.0)
        return min(x0, x1) - r, min(y0, y1) - r, max(x0, x1) + r, max(y0, y1) + r
    r = (np.sqrt(r0 * r0 + r1 * r1) if kind == 2.0 else r0) + np.float32(1.0)
    return x0 - r, y0 - r, x0 + r, y0 + r


@jit
def paint_one(canvas, shape):
    """One shape over `canvas [height, width, 3]`."""
    height, width, _ = canvas.shape
    left, top, right, bottom = reach(shape)
    if not (left < right and top < bottom):  # NaN, or a negative size
        return
    # clipped as floats first: a shape far outside must not overflow an integer
    first, last = int(max(left, 0.0)), int(min(right + 1.0, float(width)))
    for row in range(int(max(top, 0.0)), int(min(bottom + 1.0, float(height)))):
        for column in range(first, last):
            d = distance(shape, np.float32(column + 0.5), np.float32(row + 0.5))
            inside = min(max(np.float32(0.5) - d, np.float32(0.0)), np.float32(1.0)) * shape[10]
            for c in range(3):
                canvas[row, column, c] += inside * (shape[7 + c] - canvas[row, column, c])


@jit
def distance(shape, x, y):
    """Pixels from a point to the shape's edge, negative inside."""
    kind, x0, y0, x1, y1, r0, r1 = shape[:7]
    dx, dy = x - x0, y - y0
    if kind == 1.0:
        ex, ey = x1 - x0, y1 - y0
        along = (ex * dx + ey * dy) / max(ex * ex + ey * ey, np.float32(1e-6))
        along = min(max(along, np.float32(0.0)), np.float32(1.0))
        px, py = dx - along * ex, dy - along * ey
        return np.sqrt(px * px + py * py) - (r0 + along * (r1 - r0))
    if kind == 2.0:
        across, down = dx * np.cos(x1) + dy * np.sin(x1), dy * np.cos(x1) - dx * np.sin(x1)
        return max(abs(across) - r0, abs(down) - r1)
    furthest = np.float32(-1e30)
    for side in range(int(r1)):
        angle = x1 + np.float32(side + 0.5) * TURN / r1
        furthest = max(furthest, dx * np.cos(angle) + dy * np.sin(angle))
    return furthest - r0 * np.cos(TURN / (np.float32(2.0) * r1))
