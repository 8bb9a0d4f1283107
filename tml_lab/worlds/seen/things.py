"""Coloured things: a ball, a square, a triangle, a star; where they are and how they look in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tml_kernels.draw import BOX, CAPSULE, NUMBERS, POLYGON

PAINT = {
    "red": (215, 35, 35), "blue": (40, 70, 215), "green": (40, 160, 60), "yellow": (240, 215, 40),
    "black": (18, 18, 20),
    "white": (245, 245, 245), "brown": (115, 70, 35), "orange": (245, 135, 25), "pink": (250, 150, 190),
}  # fmt: skip
N_SHAPES = 4  # of one thing: each of at most two parts, with a rim behind it


def paint(rng: np.random.Generator, colour: str) -> np.ndarray:
    """A shade of a named colour: red, green, blue in 0..255."""
    return np.clip(np.array(PAINT[colour]) * rng.uniform(0.88, 1.08) + rng.normal(0, 7, 3), 0, 255)


@dataclass
class Thing:
    """`x, y [frames]` in pixels; `size` its radius in pixels; `rgb [frames, 3]`; `opacity [frames]`, 0 when absent;
    `colour [frames]`: places in `COLOURS`."""

    kind: str
    x: np.ndarray
    y: np.ndarray
    size: float
    rgb: np.ndarray
    opacity: np.ndarray
    colour: np.ndarray
    turned: float = 0.0

    def shapes(self) -> np.ndarray:
        """`[frames, 4, 11]`: each part of the thing after a rim that sets it off from what lies behind."""
        light = self.rgb.mean(-1, keepdims=True) > 110
        rim = np.where(light, 25.0, 225.0) * np.ones(3)  # [frames, 3]
        parts = [(1.0, self.rgb)]
        if self.kind == "star":
            parts = [(1.0, self.rgb), (-1.0, self.rgb)]
        rims = [(sign, rim, self.size * 1.12 + 0.6) for sign, _ in parts]
        faces = [(sign, rgb, self.size) for sign, rgb in parts]
        drawn = [self._part(sign, rgb, size) for sign, rgb, size in (*rims, *faces)]
        nothing = np.zeros((len(self.x), N_SHAPES - len(drawn), NUMBERS))
        return np.concatenate([np.stack(drawn, 1), nothing], 1)

    def _part(self, sign: float, rgb: np.ndarray, size: float) -> np.ndarray:
        shape = np.zeros((len(self.x), NUMBERS))
        shape[:, 1], shape[:, 2] = self.x, self.y
        shape[:, 7:10], shape[:, 10] = rgb, self.opacity
        if self.kind == "ball":
            shape[:, 0], shape[:, 3], shape[:, 4] = CAPSULE, self.x, self.y
            shape[:, 5:7] = size
        elif self.kind == "square":
            shape[:, 0], shape[:, 3] = BOX, self.turned
            shape[:, 5:7] = 0.86 * size
        else:
            upright = -np.pi / 2 if sign > 0 else np.pi / 2
            shape[:, 0], shape[:, 3], shape[:, 5], shape[:, 6] = POLYGON, upright + self.turned, 1.15 * size, 3
        shape[shape[:, 10] == 0, 0] = 0.0
        return shape
