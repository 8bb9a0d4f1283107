"""Words as the graders compare them: lower case, no punctuation, number words as digits.

Numbers are written as the parts people say, because that is what a log of single words holds; which of them say one
number together is told by `one_number`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUE = {word: value for value, word in enumerate(_UNITS.split())}
_VALUE |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
_LARGE = frozenset(("hundred", "thousand"))
_BELOW_HUNDRED = frozenset(str(value) for value in range(1, 100))

Tokens = tuple[str, ...]


def normalise(text: str) -> Tokens:
    """Lower case, no punctuation, number words as digits.

    "twenty five", "twenty-five" and "25" are all `("20", "5")`.

    >>> normalise("Twenty-five, please!")
    ('20', '5', 'please')
    """
    tokens: list[str] = []
    for raw in re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'")):
        tokens.extend(
            _say_number(int(raw)) if raw.isascii() and raw.isdigit() else (str(_VALUE.get(raw, raw)),)
        )
    return tuple(tokens)


def _say_number(value: int) -> Tokens:
    """Digits as spoken parts: 125 -> 1 hundred 20 5."""
    if value >= 1000:
        return (str(value),)
    hundreds, rest = divmod(value, 100)
    parts = [str(hundreds), "hundred"] if hundreds else []
    if rest >= 20:
        parts.append(str(rest - rest % 10))
        rest %= 10
        return tuple([*parts, str(rest)] if rest else parts)
    return tuple([*parts, str(rest)] if rest or not hundreds else parts)


def one_number(before: str, after: str) -> bool:
    """Do two tokens, one right after the other, belong to one number?

    >>> one_number("20", "5"), one_number("5", "hundred"), one_number("5", "20"), one_number("20", "20")
    (True, True, False, False)
    """
    if after in _LARGE or before in _LARGE:
        return (after if before in _LARGE else before) in _BELOW_HUNDRED
    return before in _BELOW_HUNDRED and int(before) % 10 == 0 and int(before) >= 20 and after in set("123456789")


def whole(tokens: Sequence[str]) -> list[Tokens]:
    """The tokens, those of one number together.

    >>> whole(("that", "is", "20", "5"))
    [('that',), ('is',), ('20', '5')]
    """
    words: list[Tokens] = []
    for token in tokens:
        if words and one_number(words[-1][-1], token):
            words[-1] = (*words[-1], token)
        else:
            words.append((token,))
    return words
