"""Joining of ES modules into the one that anywidget sends to the browser: `tml_lab.plot.esm`, which pages use too."""

from tml_lab.plot.esm import link

__all__ = ["link"]
