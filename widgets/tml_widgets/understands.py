"""What the nano understands, as rows for the widget's panel: read from `data/understands.md`."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def understands(path: Path | None = None) -> list[dict[str, object]]:
    """`[{"title", "items"}]`, one entry per heading of the file; empty when there is no such file.

    `data/understands.md` is generated from the world generators, so the panel cannot promise what was not
    trained.
    """
    path = path or REPOSITORY / "data" / "understands.md"
    if not path.is_file():
        return []
    groups: list[dict[str, object]] = []
    items: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        heading = re.match(r"^#{1,4}\s+(.*)", line)
        if heading:
            items = []
            groups.append({"title": _plain(heading[1]), "items": items})
        elif line.strip() and not re.match(r"^\s*\|?[\s:|-]+\|?\s*$", line):
            items.append(_plain(re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "", line).strip(" |")))
    return [group for group in groups if group["items"]]


def _plain(markdown: str) -> str:
    return re.sub(r"[`*_]{1,2}([^`*_]+)[`*_]{1,2}", r"\1", markdown).strip()
