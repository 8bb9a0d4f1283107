"""The one map of the model that recurs in every chapter, with the part in question lit.

    draw({"dmel"})                an SVG
    python -m tml_lab.course.model_map notebooks/maps      one file a chapter
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tml_lab.course import progress
from tml_lab.course.chapters import CHAPTERS, chapter

WIDTH, HEIGHT = 900, 314
TICK = (  # a badge on the box's corner, where no text of the box can lie
    "position:absolute;right:-8px;top:-8px;width:16px;height:16px;border-radius:50%;background:#007A5E;color:#FFFFFF;"
    "font:bold 11px/16px sans-serif;text-align:center"
)
LIT, DIM, LINE, INK = "#0072B2", "#F3F4F6", "#6B7280", "#1F2937"  # blue of the colour-safe palette, greys


@dataclass(frozen=True)
class Part:
    """A box on the map: its text in one or two lines, its place, and the chapter that builds it."""

    name: str
    text: str
    x: int
    y: int
    width: int
    height: int
    chapter: str

    @property
    def lines(self) -> list[str]:
        """The text's lines."""
        return self.text.split("\n")


PARTS = (
    Part("sight", "pictures:\npatches, hMLP", 120, 66, 130, 42, "03"),
    Part("dmel", "sound:\ndMel", 120, 116, 130, 42, "02"),
    Part("attention", "attention that\nknows distance", 320, 56, 150, 46, "04"),
    Part("experts", "mixture\nof experts", 320, 116, 150, 46, "05"),
    Part("decision", "decision, learned:\nspeak or be silent", 530, 66, 140, 46, "07"),
    Part("safety", "refuse\nout loud", 530, 126, 140, 42, "16"),
    Part("colleague", "the colleague in\nthe background", 740, 16, 140, 42, "11"),
    Part("voice", "flow head, vocoder:\nsound out", 740, 116, 140, 46, "06"),
    Part("turns", "turns of 0.2 s, two clocks", 120, 228, 170, 30, "01"),
    Part("session", "session: keep, fork, replay", 300, 228, 190, 30, "08"),
    Part("lens", "look inside: why?", 500, 228, 140, 30, "14"),
    Part("bench", "measure it", 650, 228, 90, 30, "12"),
    Part("harness", "its rival", 750, 228, 130, 30, "13"),
    Part("bits", "arithmetic: the same bits", 120, 270, 210, 30, "09"),
    Part("kernels", "kernels in Triton", 340, 270, 190, 30, "10"),
    Part("scale", "the same at 276 billion", 540, 270, 340, 30, "15"),
)
BY_NAME = {part.name: part for part in PARTS}
PLAIN = (("typed words", 120, 16, 130, 42), ("words", 740, 66, 140, 42))  # boxes without a chapter of their own
ARROWS = (
    "M250 37 H285 V80 H304", "M250 87 H304", "M250 137 H285 V95 H304",  # in
    "M486 90 H526", "M670 87 H736", "M670 78 H705 V37 H736", "M670 98 H705 V137 H736",  # out
    "M810 162 V196 H185 V162",  # its own voice comes back
)  # fmt: skip


def lit_in(number: str) -> set[str]:
    """The parts that a chapter is about."""
    return {part.name for part in PARTS if part.chapter == number}


def alt_text(number: str) -> str:
    """What the map of a chapter shows, in one sentence."""
    lit = " and ".join(" ".join(part.lines) for part in PARTS if part.name in lit_in(number))
    return f"The map of the model; lit: {lit}" if lit else "The map of the model, from sound and pictures to voice"


def _text(lines: list[str], x: float, y: float, colour: str) -> str:
    first = y + 4 - 7.5 * (len(lines) - 1)
    rows = (
        f'<text x="{x:g}" y="{first + 15 * i:g}" fill="{colour}" text-anchor="middle">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return "".join(rows)


def _box(lines: list[str], x: int, y: int, width: int, height: int, lit: bool) -> str:
    fill, ink = (LIT, "#FFFFFF") if lit else (DIM, INK)
    edge = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{LINE}"/>'
    return edge + _text(lines, x + width / 2, y + height / 2, ink)


def draw(lit: set[str], title: str = "The map of the model") -> str:
    """The map as an SVG of 900 x 314, readable on light and dark pages alike.

    Raises ValueError for a part that is not on it.
    """
    if unknown := lit - set(BY_NAME):
        raise ValueError(f"the map has no part {min(unknown)!r}; it has {', '.join(BY_NAME)}.")
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="12.5"><title>{escape(title)}</title>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#FFFFFF"/>',
        f'<rect x="304" y="30" width="182" height="148" rx="8" fill="none" stroke="{LINE}" stroke-dasharray="4 3"/>',
        _text(["backbone"], 395, 44, INK),
        _text(["hears"], 60, 137, LINE), _text(["sees"], 60, 87, LINE), _text(["reads"], 60, 37, LINE),
        _text(["its own voice comes back"], 500, 210, LINE), _text(["around it"], 60, 243, LINE),
        _text(["beneath it"], 60, 285, LINE),
    ]  # fmt: skip
    pieces += [f'<path d="{way}" fill="none" stroke="{LINE}" marker-end="url(#tip)"/>' for way in ARROWS]
    pieces += [_box([text], *place, lit=False) for text, *place in PLAIN]
    pieces += [_box(p.lines, p.x, p.y, p.width, p.height, p.name in lit) for p in PARTS]
    return "\n".join([*pieces, "</svg>"]) + "\n"


def linked() -> str:
    """The map as HTML for a notebook: each part leads to its chapter; a tick where all of its exercises are solved."""
    from tml_lab.course import checks

    solved, boxes = set(progress.read()), []
    for part in PARTS:
        its = {name for name in checks.__all__ if name.startswith(f"ch{part.chapter}_")}
        done = its and its <= solved
        label = f"{part.chapter} {' '.join(part.lines)}" + (", solved" if done else "")
        where = (
            f"left:{part.x / WIDTH:.2%};top:{part.y / HEIGHT:.2%};"
            f"width:{part.width / WIDTH:.2%};height:{part.height / HEIGHT:.2%}"
        )
        mark = f'<span style="{TICK}">✓</span>' if done else ""
        boxes.append(
            f'<a href="{chapter(part.chapter).file}" title="{escape(label)}" aria-label="{escape(label)}" '
            f'style="position:absolute;display:block;text-decoration:none;{where}">{mark}</a>'
        )
    frame = f"position:relative;max-width:{WIDTH}px;aspect-ratio:{WIDTH}/{HEIGHT}"  # narrower where the page is
    picture = draw(set()).replace(f'width="{WIDTH}" height="{HEIGHT}" role', 'width="100%" role', 1)
    return f'<div style="{frame}">{picture}{"".join(boxes)}</div>'


def write(folder: Path) -> list[Path]:
    """One SVG a chapter, lit, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for each in CHAPTERS:
        path = folder / f"{each.number}.svg"
        path.write_text(draw(lit_in(each.number), alt_text(each.number)), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    print("\n".join(str(path) for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "notebooks/maps"))))
