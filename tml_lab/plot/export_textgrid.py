"""Tiers for Praat and ELAN: what was heard and typed, what was decided, what was said.

The long text form of a TextGrid, as Praat's manual describes it ("TextGrid file formats"). Interval tiers cover the
whole time without holes; points ascend strictly.
"""

from __future__ import annotations

from collections.abc import Iterable

from tml_lab.plot.lanes import Words, decision_runs, said_words
from tml_lab.plot.timeline_data import gap_spans, skipped_spans, typed_words
from tml_lab.stream.recording import Recording

_NEAR = 1e-6  # seconds: shorter is nothing


def textgrid(recording: Recording, start: float, end: float, heard: Words = ()) -> str:
    """The file, as text; second 0 is `start`.

    Tiers: `heard` (where a transcript is given), `typed`, `decision` on the heard clock, `said` on the played clock,
    and `missing`: `gap` where chunks were lost, `skipped` where turns were never computed.
    """
    tiers = [_intervals("heard", heard, start, end)] if heard else []
    tiers.append(_points("typed", typed_words(recording), start, end))
    runs = ((a, b, name.strip("<>")) for a, b, name in decision_runs(recording))
    tiers.append(_intervals("decision", runs, start, end))
    tiers.append(_intervals("said", said_words(recording), start, end))
    missing = [*((a, b, "gap") for a, b in gap_spans(recording)),
               *((a, b, "skipped") for a, b in skipped_spans(recording))]  # fmt: skip
    if missing:
        tiers.append(_intervals("missing", sorted(missing), start, end))
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_number(end - start)}",
        "tiers? <exists>", f"size = {len(tiers)}", "item []:",
    ]  # fmt: skip
    for n, tier in enumerate(tiers, 1):
        lines += [f"    item [{n}]:", *(f"        {line}" for line in tier)]
    return "\n".join(lines) + "\n"


def _head(kind: str, name: str, length: float, what: str, many: int) -> list[str]:
    return [f'class = "{kind}"', f'name = "{name}"', "xmin = 0", f"xmax = {_number(length)}", f"{what}: size = {many}"]


def _intervals(name: str, words: Iterable[tuple[float, float, str]], start: float, end: float) -> list[str]:
    """One after the other, empty between them; where two overlap, the later one begins when the first ends."""
    rows: list[tuple[float, float, str]] = []
    at = start
    for begin, stop, text in sorted(words):
        begin, stop = max(begin, at), min(stop, end)
        if stop - begin < _NEAR:
            continue
        if begin - at > _NEAR:
            rows.append((at, begin, ""))
        else:
            begin = at  # no hole of a rounding's width
        rows.append((begin, stop, text))
        at = stop
    if end - at > _NEAR or not rows:
        rows.append((at, end, ""))
    else:
        rows[-1] = (rows[-1][0], end, rows[-1][2])
    lines = _head("IntervalTier", name, end - start, "intervals", len(rows))
    for n, (begin, stop, text) in enumerate(rows, 1):
        lines += [
            f"intervals [{n}]:", f"    xmin = {_number(begin - start)}", f"    xmax = {_number(stop - start)}",
            f"    text = {_quoted(text)}",
        ]  # fmt: skip
    return lines


def _points(name: str, words: Iterable[tuple[float, str]], start: float, end: float) -> list[str]:
    """What stands at one instant is one point."""
    at: dict[float, list[str]] = {}
    for seconds, text in words:
        if start <= seconds < end:
            at.setdefault(round(seconds - start, 6), []).append(text)
    lines = _head("TextTier", name, end - start, "points", len(at))
    for n, (seconds, texts) in enumerate(sorted(at.items()), 1):
        lines += [f"points [{n}]:", f"    number = {_number(seconds)}", f"    mark = {_quoted(' '.join(texts))}"]
    return lines


def _number(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".") or "0"


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace('"', '""') + '"'
