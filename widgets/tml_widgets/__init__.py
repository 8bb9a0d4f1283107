"""Widgets of the lab for Jupyter: one small Python class and one readable ES module each (anywidget, no build step)."""

from tml_widgets.live_session import LiveSession
from tml_widgets.sources import Clip, Microphone, open_source

__all__ = ["Clip", "LiveSession", "Microphone", "open_source"]
