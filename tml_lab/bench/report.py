"""Pages on which every item of a benchmark can be seen on its timeline, and heard.

`tml bench NAMES --report FOLDER` writes `index.html`, and a page for each benchmark, or for each player of a benchmark
that brings its own. Under `items/` lie, for the first items of each family, one stereo sound file (left: what was
heard; right: the model's own voice) and, for scenes with a camera, one strip of pictures.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tml_lab.bench.benchmark import Benchmark
from tml_lab.bench.emissions import Emissions
from tml_lab.bench.grading import grade_item
from tml_lab.bench.report_media import SECONDS_BETWEEN_PICTURES, png, strip, write_sound
from tml_lab.bench.report_timeline import item_svg
from tml_lab.worlds.stage import Episode

if TYPE_CHECKING:
    from tml_lab.model.vocoder import Vocoder

STATIC = Path(__file__).parent / "static"
MEDIA = 12  # items of each family with sound and pictures: 0.1 and 1.5 MB an item, where its timeline is 10 kB
NO_SOUND = "No item can be heard: beside its sound came a bad line, an echo or minutes between, which are not kept."


@dataclass
class Played:
    """One benchmark as one player played it."""

    benchmark: Benchmark
    split: str
    episodes: Sequence[Episode]
    logs: Sequence[Emissions]
    metrics: dict[str, Any]
    row: str = "model"

    @property
    def name(self) -> str:
        """Of its page and its files; two players of a benchmark have two."""
        player = "" if self.row == "model" else "-" + re.sub(r"[^\w.]+", "-", self.row)
        return f"{self.benchmark.name}-{self.split}{player}"

    @property
    def title(self) -> str:
        """As printed."""
        return f"{self.benchmark.title} ({self.split})" + ("" if self.row == "model" else f": {self.row}")


class Report:
    """A folder of pages, written benchmark by benchmark; nothing that was played is held in memory.

    Args:
        folder: made when missing. Raises OSError when it cannot be written.
        label: the checkpoint.
        vocoder: of the model's own voice, on the CPU; None leaves it silent.
        media: of each family so many items come with their sound and pictures; the others with their timeline alone.
    """

    def __init__(self, folder: Path, label: str, vocoder: Vocoder | None = None, media: int = MEDIA) -> None:
        self.folder, self.label, self.vocoder, self.media = folder, label, vocoder, media
        self.path = folder / "index.html"
        self._sections: list[str] = []
        (folder / "items").mkdir(parents=True, exist_ok=True)
        self._write(self.path, f"Benchmarks: {label}", "")

    def add(self, played: Played) -> Path:
        """Write the page of what was played, and put it into the index; returns the page's path."""
        path = self.folder / f"{played.name}.html"
        wrong = [played.benchmark.fails(i, log) for i, log in zip(played.episodes, played.logs, strict=True)]
        summary = f"{_figures(played)}<p>{_in_all(wrong)}</p>"
        intro = (STATIC / "report_items.html").read_text(encoding="utf-8")
        silent = "" if played.benchmark.rows is None else f"<p>{NO_SOUND}</p>"
        back = f'<p><a href="index.html">{html.escape(self.label)}: all benchmarks</a></p>'
        self._write(path, played.title, back + summary + silent + intro + "\n".join(self._items(played, wrong)))
        title = html.escape(played.title)
        self._sections.append(
            f'<section id="{played.name}"><h2>{title}</h2>{summary}'
            f'<p><a href="{played.name}.html">each item of {title}</a></p></section>'
        )
        self._write(self.path, f"Benchmarks: {self.label}", "\n".join(self._sections))
        return path

    def _write(self, path: Path, title: str, body: str) -> None:
        page = (STATIC / "report.html").read_text(encoding="utf-8").replace("{{title}}", html.escape(title))
        path.write_text(page.replace("{{body}}", body), encoding="utf-8")

    def _items(self, played: Played, wrong: Sequence[Sequence[str]]) -> list[str]:
        of_family: Counter[str] = Counter()
        items = []
        for n, (item, log) in enumerate(zip(played.episodes, played.logs, strict=True)):
            name = f"{played.name}-{n:03d}"
            media = ""
            if of_family[item.family] < self.media:
                media = ("" if played.benchmark.rows else self._sound(name, item, log)) + self._pictures(name, item)
            of_family[item.family] += 1
            items.append(_item(name, item, log, wrong[n], media))
        return items

    def _sound(self, name: str, item: Episode, log: Emissions) -> str:
        write_sound(self.folder / "items" / f"{name}.ogg", item, log, self.vocoder)
        return f'<audio controls preload="none" src="items/{name}.ogg"></audio>'

    def _pictures(self, name: str, item: Episode) -> str:
        pictures = strip(item)
        if pictures is None:
            return ""
        (self.folder / "items" / f"{name}.png").write_bytes(png(pictures))
        alt = f"What the camera saw, a picture every {SECONDS_BETWEEN_PICTURES:.0f} seconds"
        return f'<div class="scroll"><img src="items/{name}.png" alt="{alt}" loading="lazy"></div>'


def _figures(played: Played) -> str:
    goals = played.benchmark.goals
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(goals.get(name, ''))}</td><td>{_figure(m)}</td></tr>"
        for name, m in played.metrics.items()
    )
    return f"<table><tr><th>figure</th><th>goal</th><th>value</th></tr>{rows}</table>"


def _figure(metric: dict[str, Any]) -> str:
    value = metric["value"]
    return "–" if value is None else f"{value:.3f} [{metric['low']:.3f}, {metric['high']:.3f}], n = {metric['n']}"


def _in_all(wrong: Sequence[Sequence[str]]) -> str:
    """How many items are wrong, and by which figures."""
    by = Counter(figure for figures in wrong for figure in figures)
    share = f"Of {len(wrong)} items {sum(map(bool, wrong))} are wrong"
    return f"{share}{': ' if by else ''}{', '.join(f'{n} by {figure}' for figure, n in by.items())}."


def _item(name: str, item: Episode, log: Emissions, wrong: Sequence[str], media: str) -> str:
    grade = grade_item(item.expects, log.spoken())
    verdict = f"wrong ({', '.join(wrong)})" if wrong else "right"
    asked = ""
    if item.requests or log.requests:
        lists = ("; ".join(text for _, text in some) or "nothing" for some in (log.requests, item.requests))
        asked = "<p>It asked for: {}. Wanted: {}.</p>".format(*map(html.escape, lists))
    return (
        f'<details class="item {"wrong" if wrong else "right"}" id={json.dumps(name)}>'
        f"<summary>{item.family} {item.seed}: {verdict}</summary>{media}{asked}"
        f'<div class="scroll" tabindex="0">{item_svg(item, log, grade)}</div></details>'
    )
