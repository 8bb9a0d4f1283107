"""What a checkpoint understands, as rows for the widget's panel: read from `data/understands*.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

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


Taught = Literal["heard", "everything", "sight", "numbers"]


def what_was_taught(checkpoint: str | Path) -> Taught:
    """What a checkpoint was trained on, by the words that it knows: all families, only what is seen, only to repeat
    numbers (the `pico` of chapter 07), or else the nano's.

    The nano's, too, where it cannot be read; it says why when it is started.
    """
    from tml_lab.model.checkpoint import CheckpointError, find_checkpoint
    from tml_lab.model.text import TextTokenizer
    from tml_lab.worlds.vocabulary import knows_everything, numbers_world, seen_world

    try:
        tokenizer = TextTokenizer.load(find_checkpoint(checkpoint) / "tokenizer.json")
    except (CheckpointError, OSError, ValueError):
        return "heard"
    narrow: dict[Taught, list[tuple[str, ...]]] = {
        "sight": [seen_world(), seen_world(further=True)],
        "numbers": [numbers_world()],
    }
    for taught, worlds in narrow.items():
        if any(tokenizer.names == TextTokenizer.build(words).names for words in worlds):
            return taught
    return "everything" if knows_everything(tokenizer) else "heard"


def may_ask(session: object) -> bool:
    """Whether a session's model was taught to ask a background model; a session on a server is asked for it.

    False for a session of another kind.
    """
    from tml_lab.worlds.vocabulary import knows_everything

    if hasattr(session, "may_ask"):
        return bool(session.may_ask)  # type: ignore[attr-defined]
    tokenizer = getattr(session, "tokenizer", None)
    return tokenizer is not None and knows_everything(tokenizer)


def understands_of(taught: Taught) -> list[dict[str, object]]:
    """What the panel lists: the nano's requests; of a checkpoint that was taught everything the further ones, too, but
    for those about what is seen, which it has not learned; of one that was taught to see what it has learned of that;
    of one that repeats numbers that alone.
    """
    if taught == "heard":
        return understands()
    from tml_lab.worlds.understands import EVERYTHING_PATH, SEEN_TITLE, SEES
    from tml_lab.worlds.wordings import WORDINGS

    if taught == "numbers":
        return [{"title": "Type it, then say numbers", "items": _named(understands(), {WORDINGS["repeat_numbers"][0]})}]
    further = understands(EVERYTHING_PATH)
    if taught == "everything":
        return understands() + [group for group in further if group["title"] not in (SEEN_TITLE, "Words")]
    return [{"title": f"{SEEN_TITLE}; type it", "items": _named(further, {*SEES})}]


def _named(groups: Iterable[dict[str, object]], wordings: set[str]) -> list[object]:
    """The items of all groups that are said with one of these wordings."""
    return [item for group in groups for item in group["items"] if item["say"] in wordings]  # type: ignore[attr-defined,index]


def _item(markdown: str) -> dict[str, str]:
    match = _ITEM.match(markdown)
    say, text = (match["say"], match["text"]) if match else ("", markdown)
    return {"say": say, "text": re.sub(r"\*\*|`", "", text)}
