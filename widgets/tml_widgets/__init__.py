"""Widgets of the lab for Jupyter: a small Python class and ES modules each, without a build step."""

from tml_widgets.live_session import LiveSession
from tml_widgets.sources import Clip, Microphone, open_source
from tml_widgets.timeline import Timeline

__all__ = ["Clip", "LiveSession", "Microphone", "Timeline", "open_source"]
