"""Letters and digits as strokes, for what stands on a screen in a scene."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tml_kernels.draw import CAPSULE, NUMBERS

WIDTH, HEIGHT, ADVANCE = 4.0, 6.0, 5.6  # of a letter, in grid steps; from one letter to the next
# Each stroke is a chain of points "xy", x 0..4 to the right, y 0..6 down.
_STROKES = {
    "0": "10 30 41 45 36 16 05 01 10", "1": "11 20 26|16 36", "2": "01 10 30 41 42 06 46",
    "3": "01 10 30 41 42 33 44 45 36 16 05|13 33", "4": "36 30 04 44", "5": "40 00 03 33 44 45 36 16 05",
    "6": "30 10 01 05 16 36 45 44 33 03", "7": "00 40 16", "8": "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33",
    "9": "43 13 02 01 10 30 41 45 36 16", "a": "06 20 46|14 34", "b": "06 00 30 41 42 33 03|33 44 45 36 06",
    "c": "41 30 10 01 05 16 36 45", "d": "00 06 26 44 42 20 00", "e": "40 00 06 46|03 33", "f": "40 00 06|03 33",
    "g": "41 30 10 01 05 16 36 45 43 23", "h": "00 06|40 46|03 43", "i": "20 26", "j": "40 45 36 16 05",
    "k": "00 06|40 03 46", "l": "00 06 46", "m": "06 00 23 40 46", "n": "06 00 46 40",
    "o": "10 30 41 45 36 16 05 01 10", "p": "06 00 30 41 42 33 03", "q": "10 30 41 45 36 16 05 01 10|24 46",
    "r": "06 00 30 41 42 33 03|23 46",
    "s": "41 30 10 01 02 13 33 44 45 36 16 05", "t": "00 40|20 26", "u": "00 05 16 36 45 40", "v": "00 26 40",
    "w": "00 16 23 36 40", "x": "00 46|40 06", "y": "00 23 40|23 26", "z": "00 40 06 46",
}  # fmt: skip


def strokes(text: str) -> np.ndarray:
    """`text` as straight strokes from left to right: `[strokes, 4]`, x0, y0, x1, y1 in grid steps.

    Lower case, digits and spaces. Raises ValueError naming a character there is no letter for.
    """
    lines = []
    for place, letter in enumerate(text.lower()):
        if letter != " " and letter not in _STROKES:
            raise ValueError(f"{letter!r} in {text!r} cannot be written: letters a to z, digits and spaces can.")
        for chain in _STROKES.get(letter, "").split("|"):
            points = [(int(p[0]) + place * ADVANCE, float(p[1])) for p in chain.split()]
            lines += [(*a, *b) for a, b in pairwise(points)]
    return np.array(lines, float).reshape(-1, 4)


def written(
    text: str, x: float, y: float, height: float, colour: np.ndarray, slant: float = 0.0, thick: float = 0.14
) -> np.ndarray:
    """`text` centred on pixel `x, y`, letters `height` pixels high, strokes `thick` of that: `[strokes, 11]`."""
    lines = strokes(text)
    step = height / HEIGHT
    width = (len(text) - 1) * ADVANCE + WIDTH
    shapes = np.zeros((len(lines), NUMBERS))
    for i in (0, 2):
        down = (lines[:, i + 1] - HEIGHT / 2) * step
        shapes[:, 1 + i] = x + (lines[:, i] - width / 2) * step - slant * down
        shapes[:, 2 + i] = y + down
    shapes[:, 0], shapes[:, 5:7] = CAPSULE, thick * height / 2
    shapes[:, 7:10], shapes[:, 10] = colour, 1.0
    return shapes
