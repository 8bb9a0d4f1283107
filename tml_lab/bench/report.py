"""A page on which every item of a benchmark can be seen on its timeline and heard.

`tml bench NAMES --report FOLDER` writes `index.html` and, beside it, one stereo sound file (left: what was heard;
right: the model's own voice) and, for scenes with a camera, one strip of pictures for each item shown.
"""

from __future__ import annotations

import html
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from tml_lab.bench.benchmark import Benchmark, Player
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import ItemGrade, grade_item, window
from tml_lab.bench.own_voice import voice_of
from tml_lab.config import SAMPLE_RATE, TURN_SECONDS
from tml_lab.worlds.stage import Episode

if TYPE_CHECKING:
    from tml_lab.model.vocoder import Vocoder

STATIC = Path(__file__).parent / "static"
SCALE = 60.0  # pixels a second
SHOWN = 12  # items of each family on the page
LANES = {"heard": 18, "typed": 44, "due": 70, "said": 96, "asked": 122}  # top of each lane, pixels
HEIGHT, LANE, LEFT = 168, 22, 70
SECONDS_BETWEEN_PICTURES = 2.0


@dataclass
class Played:
    """One benchmark as the model played it."""

    benchmark: Benchmark
    split: str
    episodes: Sequence[Episode]
    logs: Sequence[Emissions]
    metrics: dict[str, Any]


class KeptPlayer:
    """Plays as another player does, and keeps every item and log for a report."""

    def __init__(self, player: Player) -> None:
        self.name, self._player = player.name, player
        self.kept: list[tuple[Sequence[Episode], list[Emissions]]] = []

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        self.kept.append((episodes, self._player.play(episodes)))
        return self.kept[-1][1]


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


def write_sound(path: Path, item: Episode, log: Emissions, vocoder: Vocoder | None) -> None:
    """What was heard on the left, the own voice on the right, as Ogg Vorbis."""
    both = np.stack([item.audio, voice_of(log, vocoder)[: len(item.audio)]], 1)  # [samples, 2]
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, format="OGG", subtype="VORBIS") as file:
        for start in range(0, len(both), SAMPLE_RATE):  # blocks: libsndfile's encoder wants no minutes at once
            file.write(both[start : start + SAMPLE_RATE])


def png(pixels: np.ndarray) -> bytes:
    """uint8 `[height, width, 3]` as a PNG file."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)  # filter 0 before each row

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def strip(item: Episode) -> np.ndarray | None:
    """A picture every two seconds, side by side: uint8 `[120, 160 * n, 3]`; None without a camera."""
    film = item.pictures()
    if film is None:
        return None
    step = round(SECONDS_BETWEEN_PICTURES / TURN_SECONDS)
    return np.concatenate(list(film[::step, 0]), axis=1)


def write_report(folder: Path, played: Sequence[Played], label: str, vocoder: Vocoder | None = None) -> Path:
    """Write the page and what it needs into `folder`; returns the page's path.

    Of each family the first `SHOWN` items are on it. Raises OSError when the folder cannot be written.
    """
    (folder / "items").mkdir(parents=True, exist_ok=True)
    sections = [_section(folder, one, vocoder) for one in played]
    page = (STATIC / "report.html").read_text(encoding="utf-8")
    body = page.replace("{{label}}", html.escape(label)).replace("{{sections}}", "\n".join(sections))
    path = folder / "index.html"
    path.write_text(body, encoding="utf-8")
    return path


def _section(folder: Path, played: Played, vocoder: Vocoder | None) -> str:
    known = played.benchmark
    figures = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(known.goals.get(name, ''))}</td><td>{_figure(m)}</td></tr>"
        for name, m in played.metrics.items()
    )
    shown: dict[str, int] = {}
    items = []
    for n, (item, log) in enumerate(zip(played.episodes, played.logs, strict=True)):
        shown[item.family] = shown.get(item.family, 0) + 1
        if shown[item.family] <= SHOWN:
            items.append(_item(folder, f"{known.name}-{played.split}-{n:03d}", item, log, vocoder))
    return (
        f'<section id="{known.name}-{played.split}"><h2>{html.escape(known.title)} ({played.split})</h2>'
        f"<table><tr><th>figure</th><th>goal</th><th>value</th></tr>{figures}</table>{''.join(items)}</section>"
    )


def _figure(metric: dict[str, Any]) -> str:
    value = metric["value"]
    return "–" if value is None else f"{value:.3f} [{metric['low']:.3f}, {metric['high']:.3f}], n = {metric['n']}"


def _item(folder: Path, name: str, item: Episode, log: Emissions, vocoder: Vocoder | None) -> str:
    grade = grade_item(item.expects, log.spoken())
    write_sound(folder / "items" / f"{name}.ogg", item, log, vocoder)
    pictures = strip(item)
    seen = ""
    if pictures is not None:
        (folder / "items" / f"{name}.png").write_bytes(png(pictures))
        alt = f"What the camera saw, a picture every {SECONDS_BETWEEN_PICTURES:.0f} seconds"
        seen = f'<div class="scroll"><img src="items/{name}.png" alt="{alt}" loading="lazy"></div>'
    verdict = "right" if grade.strict else "wrong"
    about = json.dumps(name)
    return (
        f'<details class="item {verdict}" id={about}><summary>{item.family} {item.seed}: {verdict}</summary>'
        f'<audio controls preload="none" src="items/{name}.ogg"></audio>{seen}'
        f'<div class="scroll" tabindex="0">{item_svg(item, log, grade)}</div></details>'
    )
