"""The widgets' modules: all of them are in what the browser gets."""

from __future__ import annotations

import json

from tml_widgets.console import Console
from tml_widgets.live_session import STATIC, LiveSession
from tml_widgets.voice_reader import VoiceReader


def test_the_widgets_are_whole() -> None:
    text = str(LiveSession._esm) + str(Console._esm) + str(VoiceReader._esm)
    assert 'from \\"./' not in text
    for module in [*STATIC.glob("*.js"), *STATIC.glob("worklets/*.js")]:
        first = module.read_text(encoding="utf-8").splitlines()[0]
        assert json.dumps(first, ensure_ascii=False)[1:-1] in text, f"{module.name} is imported by nothing"
