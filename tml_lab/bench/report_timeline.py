"""One item of a benchmark on a time axis: what was heard, typed, due, said and asked, and p(speak), as SVG."""

from __future__ import annotations

import html

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import ItemGrade, window
from tml_lab.config import TURN_SECONDS
from tml_lab.worlds.stage import Episode

SCALE = 60.0  # pixels a second
LANES = {"heard": 18, "typed": 44, "due": 70, "said": 96, "asked": 122}  # top of each lane, pixels
HEIGHT, LANE, LEFT = 168, 22, 70


def item_svg(item: Episode, log: Emissions, grade: ItemGrade) -> str:
    """What was heard, typed, due, said and asked, and p(speak), on one time axis."""
    seconds = item.n_turns * TURN_SECONDS
    parts = [
        f'<text class="lane" x="4" y="{top + 15}">{name}</text>' for name, top in LANES.items()
    ]
    parts += [
        f'<line class="tick" x1="{_x(t):.1f}" x2="{_x(t):.1f}" y1="14" y2="{HEIGHT - 22}"/>'
        f'<text class="time" x="{_x(t):.1f}" y="10">{t}</text>' for t in range(int(seconds) + 1)
    ]
    parts += [_bar("heard " + s.role, "heard", s.start, s.end, s.text) for s in item.segments]
    typed = [*item.typed, *item.results]
    parts += [_bar("typed", "typed", TURN_SECONDS * t, TURN_SECONDS * t + 0.2, text) for t, text in typed]
    for expect, hit in zip(item.expects, grade.hits, strict=True):
        start, end = window(expect)
        verdict = "met" if hit.onset is not None else "missed"
        parts.append(_bar(f"due {verdict}", "due", start, end, f"{hit.gold}: {verdict}"))
    strays = {round(at, 3) for at, _ in grade.strays}
    for word in log.spoken():
        kind = "stray" if round(word.start, 3) in strays else "said"
        parts.append(_bar(kind, "said", word.start, word.end, word.text))
    parts += [_bar("asked", "asked", TURN_SECONDS * (t + 1), TURN_SECONDS * (t + 2), text) for t, text in log.requests]
    if log.p_speak:
        points = " ".join(
            f"{_x(TURN_SECONDS * (n + 1)):.1f},{HEIGHT - 4 - 18 * p:.1f}" for n, p in enumerate(log.p_speak)
        )
        parts.append(f'<polyline class="p" points="{points}"/>')
    width = _x(seconds) + 20
    label = html.escape(describe(item, log, grade), quote=True)
    size = f'width="{width:.0f}" height="{HEIGHT}" viewBox="0 0 {width:.0f} {HEIGHT}"'
    return f'<svg role="img" aria-label="{label}" {size}>{"".join(parts)}</svg>'


def describe(item: Episode, log: Emissions, grade: ItemGrade) -> str:
    """The item in a sentence or two: what was due, and what was said."""
    met = {True: "met", False: "missed"}
    due = ", ".join(f"{hit.gold} at {hit.due:.1f} s ({met[hit.onset is not None]})" for hit in grade.hits)
    said = ", ".join(f"{word.text} at {word.start:.1f} s" for word in log.spoken())
    return f"{item.family}, {item.n_turns * TURN_SECONDS:.1f} s. Due: {due or 'nothing'}. Said: {said or 'nothing'}."


def _x(seconds: float) -> float:
    return LEFT + SCALE * seconds


def _bar(kind: str, lane: str, start: float, end: float, text: str) -> str:
    top, label = LANES[lane], html.escape(text)
    width = max(3.0, SCALE * (end - start))
    # what is typed or asked has no length of its own, so its words may run on; others end with their bar
    clipped = "" if lane in ("typed", "asked") else ' style="overflow: hidden"'
    box = f'x="{_x(start):.1f}" y="{top}" width="{width:.1f}" height="{LANE}"'
    return (
        f'<svg class="{kind}" {box} overflow="visible"{clipped}>'
        f"<title>{label} ({start:.2f} to {end:.2f} s)</title>"
        f'<rect x="0.5" y="0.5" width="{width - 1:.1f}" height="{LANE - 3}" rx="3"/>'
        f'<text x="3" y="14">{label}</text></svg>'
    )
