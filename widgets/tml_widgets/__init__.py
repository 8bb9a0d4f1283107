"""Widgets of the lab for Jupyter: a small Python class and ES modules each, without a build step."""

from tml_widgets.console import Console
from tml_widgets.live_session import LiveSession
from tml_widgets.sources import Clip, Microphone, open_source
from tml_widgets.timeline import Timeline
from tml_widgets.voice_reader import VoiceReader

__all__ = ["Clip", "Console", "LiveSession", "Microphone", "Timeline", "VoiceReader", "open_source"]
