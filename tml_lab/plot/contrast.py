"""How well one colour can be read on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tml_lab.plot.style import INK, PAPER
from tml_lab.plot.theme import turned


def channels(colour: str) -> np.ndarray:
    """Red, green and blue of `#0072b2`, from 0 to 1: float [3]."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def brightness(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance of colours `[..., 3]` from 0 to 1. Source: WCAG 2.2."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Contrast of colours `[..., 3]` with others: from 1, the same, to 21, black and white. Source: WCAG 2.2."""
    bright = np.stack(np.broadcast_arrays(brightness(one), brightness(other)))
    return (bright.max(0) + 0.05) / (bright.min(0) + 0.05)


def inks_on(shares: np.ndarray, scale: Sequence[Sequence[Any]]) -> list[str]:
    """The colour in which a number can best be read in a cell, on a light and a dark page: `INK` or `PAPER`.

    Args:
        shares: float [n], how far up the colour scale each cell is, 0 to 1; NaN: an empty cell, which shows the paper.
        scale: stops `[share, colour]`, upwards, as in `style.AMOUNT`.
    """
    at = np.array([stop for stop, _ in scale])
    colours = np.stack([channels(colour) for _, colour in scale])  # [stops, 3]
    shares = np.asarray(shares, np.float64)
    cells = np.stack([np.interp(shares, at, colours[:, c]) for c in range(3)], -1)  # [n, 3]
    cells = np.where(np.isnan(shares)[:, None], channels(PAPER), cells)
    ink, paper = (
        np.minimum(contrast(cells, colour), contrast(turned(cells), turned(colour)))
        for colour in (channels(INK), channels(PAPER))
    )
    return [INK if better else PAPER for better in ink >= paper]
