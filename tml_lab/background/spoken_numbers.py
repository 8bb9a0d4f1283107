"""Numbers as they are said."""

from __future__ import annotations

from tml_lab.background.calculator import ToolError
from tml_lab.model.text import number_words

_VALUE = {number_words(n): n for n in range(1000)}


def number_of(words: str) -> int:
    """`"one hundred sixty eight"` -> 168, for 0..999. Raises ToolError naming what is no number."""
    value = _VALUE.get(" ".join(words.split()))
    if value is None and words.strip().isdigit():
        value = int(words)
    if value is None:
        raise ToolError(f"{words!r} is no number: say one from zero to nine hundred ninety nine.")
    return value
