"""The string form of an address, for links and labels: `L3H2 pattern of decision @4.2s..5s <- video_in @t10..t20`."""

from __future__ import annotations

import math
import re
from typing import Any

from tml_lab.interp.names import InterpError

UNITS = {"H": "head", "E": "expert", "S": "shared"}
_UNIT = re.compile(r"L(\d+)(?:([HES])(\d+))?")
_TURNS = re.compile(r"@t(\d+)(?:\.\.t(\d+))?")
_SECONDS = re.compile(r"@(?:(\d[\d.e+-]*)s)?(\.\.)?(?:(\d[\d.e+-]*)s)?")


def spell(fields: dict[str, Any]) -> str:
    """The fields of an address that are set, as a string."""
    unit = next((mark + str(fields[name]) for mark, name in UNITS.items() if name in fields), "")
    words = [f"L{fields['layer']}{unit}"] if "layer" in fields else []
    words += [fields["hook"], *(["of", fields["of"]] if "of" in fields else []), *_span(fields, "")]
    words += ["played"] if "clock" in fields else []
    source = [*([fields["src"]] if "src" in fields else []), *_span(fields, "src_")]
    return " ".join([*words, *(["<-", *source] if source else [])])


def _span(fields: dict[str, Any], prefix: str) -> list[str]:
    turn, t = fields.get(f"{prefix}turn"), fields.get(f"{prefix}t")
    if turn is not None:
        return [f"@t{turn[0]}..t{turn[1]}" if isinstance(turn, tuple) else f"@t{turn}"]
    if t is None:
        return []
    if not isinstance(t, tuple):
        return [f"@{t!r}s"]
    return [f"@{t[0]!r}s..{'' if math.isinf(t[1]) else f'{t[1]!r}s'}"]


def read_spelling(text: str) -> dict[str, Any]:
    """The fields of an address from its string form. Raises InterpError for what is none."""
    left, arrow, right = text.partition("<-")
    words, fields = left.split(), dict[str, Any]()
    if words and (unit := _UNIT.fullmatch(words[0])):
        words.pop(0)
        fields["layer"] = int(unit[1])
        fields |= {UNITS[unit[2]]: int(unit[3])} if unit[2] else {}
    if words:
        fields["hook"] = words.pop(0)
    if len(words) > 1 and words[0] == "of":
        fields["of"], words = words[1], words[2:]
    if words and words[0].startswith("@"):
        fields |= _read_span(words.pop(0), "", text)
    if words == ["played"]:
        fields["clock"] = words.pop()
    source = right.split()
    if source and not source[0].startswith("@"):
        fields["src"] = source.pop(0)
    if source and source[0].startswith("@"):
        fields |= _read_span(source.pop(0), "src_", text)
    if words or source or "hook" not in fields or (arrow and not right.strip()):
        raise InterpError(
            f"{text!r} is no address; write it like 'L3H2 pattern of decision @4.2s <- video_in @2s..4s' or "
            "'L3 resid_post @t21'."
        )
    return fields


def _read_span(word: str, prefix: str, text: str) -> dict[str, Any]:
    if turns := _TURNS.fullmatch(word):
        return {f"{prefix}turn": (int(turns[1]), int(turns[2])) if turns[2] else int(turns[1])}
    found = _SECONDS.fullmatch(word)
    try:
        if found is None or not (found[1] or found[2]):
            raise ValueError
        begin = float(found[1] or 0)
        return {f"{prefix}t": (begin, float(found[3] or math.inf)) if found[2] else begin}
    except ValueError:
        raise InterpError(
            f"the time {word!r} in {text!r} cannot be read: write @4.2s, @2s..4s, @2s.., @t21 or @t21..t25."
        ) from None
