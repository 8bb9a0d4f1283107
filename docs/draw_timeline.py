"""Draw `docs/timeline.svg`, the diagram of turns in the README:  python docs/draw_timeline.py

A diagram of the layout, not a measurement: the two wave forms are envelopes of made-up words.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

TURNS, TURN_PX, LEFT, TOP = 14, 60, 120, 52
RIGHT = LEFT + TURNS * TURN_PX
INK, FAINT, HEARD, OWN, SEEN = "#1f2933", "#cbd2d9", "#2f6fb0", "#c4502e", "#5b8c5a"
WORDS_HEARD = [(1.2, 3.3, "three"), (7.3, 9.4, "seven")]  # in turns: start, end
WORDS_SAID = [(4, 6, "four"), (10, 12, "eight")]  # emitted in turn `start`, over `end - start` turns
SPEAKING = {turn for start, end, _ in WORDS_SAID for turn in range(start, end)}
OUT = Path(__file__).with_name("timeline.svg")


def x_of(turn: float) -> float:
    return LEFT + turn * TURN_PX


def text(x: float, y: float, words: str, size: int = 13, colour: str = INK, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, w: float, h: float, fill: str, stroke: str = "none", radius: float = 2) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{stroke}"/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>'


def wave(start: float, end: float, y: float, colour: str) -> list[str]:
    """Bars of a speech-like envelope between two turns, around the height `y`."""
    n = round((end - start) * 12)
    bars = []
    for i in range(n):
        phase = (i + 0.5) / n
        height = 2 + 16 * math.sin(math.pi * phase) * (0.55 + 0.45 * math.sin(9.0 * phase + 2.1 * start) ** 2)
        x = x_of(start + (end - start) * phase)
        bars.append(line(x, y - height, x, y + height, colour, 'stroke-width="2.4" stroke-linecap="round"'))
    return bars


def grid(bottom: float) -> list[str]:
    parts = []
    for turn in range(TURNS + 1):
        x = x_of(turn)
        parts.append(line(x, TOP, x, bottom, FAINT, 'stroke-width="1"'))
        if turn % 2 == 0:
            parts.append(text(x, TOP - 8, f"{turn * 0.2:.1f} s", 11, INK, "middle"))
    return parts


def lanes() -> list[str]:
    """Heard, seen, tokens, words, own voice: one lane below the other."""
    heard, seen, tokens, words, own = TOP + 34, TOP + 84, TOP + 124, TOP + 166, TOP + 214
    names = [(heard, "heard", HEARD), (seen, "seen", SEEN), (tokens, "decision", INK)]
    parts = [text(16, y + 4, name, 14, colour) for y, name, colour in [*names, (words, "words", OWN)]]
    parts += [text(16, own - 4, "own voice,", 14, OWN), text(16, own + 13, "one turn later", 12, OWN)]
    for start, end, word in WORDS_HEARD:
        parts += wave(start, end, heard, HEARD)
        parts.append(text(x_of((start + end) / 2), heard + 32, f"“{word}”", 12, HEARD, "middle"))
    for turn in range(TURNS):
        x = x_of(turn)
        parts += [box(x + 6 + 26 * k, seen - 8, 22, 16, "#e3efe3", SEEN) for k in range(2)]
        parts += [box(x + 5 + 8 * k, tokens - 4, 6, 8, "#d6e4f3", HEARD, 1) for k in range(4)]
        fill = OWN if turn in SPEAKING else "white"
        parts.append(f'<circle cx="{x + 47:.1f}" cy="{tokens}" r="6.5" fill="{fill}" stroke="{INK}"/>')
    for start, end, word in WORDS_SAID:
        parts += wave(start + 1, end + 1, own, OWN)
        parts.append(text(x_of(start) + 47, words + 4, word, 14, OWN, "middle"))
        dashes = 'stroke-dasharray="3 3"'
        parts.append(line(x_of(start) + 47, words + 9, x_of(start + 1) + 6, own - 12, OWN, dashes))
    return parts


def one_turn(y: float) -> list[str]:
    """The tokens of one speaking turn, in their order in the sequence."""
    groups = [
        ("typed", "text_in, any number", "#eee6f5", "#7a5ba6", 2),
        ("seen", "video_in x 12", "#e3efe3", SEEN, 12),
        ("heard", "audio_in x 4", "#d6e4f3", HEARD, 4),
        ("decide, then words", "text_out", "#f1f1f1", INK, 2),
        ("own voice", "audio_out x 4", "#f7ddd5", OWN, 4),
    ]
    parts = [text(16, y - 42, "One turn, 200 ms, as the model reads and writes it:", 13)]
    x = float(LEFT)
    for name, slots, fill, stroke, n in groups:
        width = max(n * 18, 118)
        for k in range(n):
            parts.append(box(x + 18 * k, y - 20, 15, 20, fill, stroke))
        parts += [text(x, y + 18, name, 13, stroke), text(x, y + 34, slots, 11, stroke)]
        x += width + 26
    return parts


def draw() -> str:
    bottom = TOP + 240
    height = bottom + 160
    body = [
        *grid(bottom),
        *lanes(),
        line(16, bottom + 22, RIGHT, bottom + 22, FAINT),
        *one_turn(bottom + 96),
    ]
    title = "“Say the next number after every number you hear”: silent turns are white, speaking turns red"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {RIGHT + 30} {height}" '
            'font-family="system-ui, sans-serif" role="img" aria-label="Timeline of 200 ms turns">',
            box(0, 0, RIGHT + 30, height, "white", FAINT, 8),
            text(16, 22, title, 14),
            *body,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
