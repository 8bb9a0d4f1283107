"""What the nano understands, as rows for the widget's panel: read from `data/understands.md`."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_ITEM = re.compile(r'^\*\*"(?P<say>[^"]+)"\*\*\s*(?:—\s*)?(?P<text>.*)')


def understands(path: Path | None = None) -> list[dict[str, object]]:
    """`[{"title", "items": [{"say", "text"}]}]`, one entry per second-level heading that has items.

    `say` is the wording of an instruction ("" where an item is only text). Empty when there is no such file.
    `data/understands.md` is generated from the world generators, so the panel cannot promise what was not
    trained.
    """
    path = path or REPOSITORY / "data" / "understands.md"
    if not path.is_file():
        return []
    groups: list[dict[str, object]] = []
    for section in re.split(r"^## +", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        blocks = re.split(r"\n\s*\n|\n(?=- )", body.strip())
        items = [_item(" ".join(block.split()).removeprefix("- ")) for block in blocks if block.strip()]
        if items:
            groups.append({"title": title.strip(), "items": items})
    return groups


def _item(markdown: str) -> dict[str, str]:
    match = _ITEM.match(markdown)
    say, text = (match["say"], match["text"]) if match else ("", markdown)
    return {"say": say, "text": re.sub(r"\*\*|`", "", text)}
