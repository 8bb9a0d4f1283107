"""A TextGrid read as Praat's manual describes the long text form; it accepts nothing else."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'"(?:[^"]|"")*"|<exists>|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.\]])', re.I)


def read_textgrid(text: str) -> tuple[float, dict[str, list[tuple]]]:
    """Length, and the tiers: `(start, end, text)` of intervals, `(time, text)` of points.

    Praat itself reads only numbers, quoted texts and flags, in their order, and skips all other words.
    """
    lines = [re.sub(r"\[\d+\]", "", line) if '"' not in line else line for line in text.splitlines()]
    tokens = iter(_TOKEN.findall("\n".join(lines)))

    def number() -> float:
        return float(next(tokens))

    def string() -> str:
        token = next(tokens)
        assert token.startswith('"'), token
        return token[1:-1].replace('""', '"')

    assert string() == "ooTextFile" and string() == "TextGrid" and number() == 0
    length = number()
    assert next(tokens) == "<exists>"
    tiers: dict[str, list[tuple]] = {}
    for _ in range(int(number())):
        kind, name, low, high, many = string(), string(), number(), number(), int(number())
        assert (low, high) == (0, length) and name not in tiers
        if kind == "IntervalTier":
            tiers[name] = [(number(), number(), string()) for _ in range(many)]
        else:
            assert kind == "TextTier"
            tiers[name] = [(number(), string()) for _ in range(many)]
    assert next(tokens, None) is None
    return length, tiers
