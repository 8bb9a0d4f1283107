"""The live widget's modules: all of them are in what the browser gets."""

from __future__ import annotations

from tml_widgets.live_session import STATIC, LiveSession


def test_the_live_widget_is_whole() -> None:
    text = str(LiveSession._esm)
    assert 'from \\"./' not in text
    for module in [*STATIC.glob("*.js"), *STATIC.glob("worklets/*.js")]:
        first = module.read_text(encoding="utf-8").splitlines()[0]
        assert first in text, f"{module.name} is imported by nothing"
