"""Which exercises a learner has solved, in one small file of their own: `~/.tml_lab/progress.json`.

`TML_LAB_PROGRESS` names another file. Nothing leaves the machine, and a file that cannot be written costs nothing but
the tick.
"""

from __future__ import annotations

import json
import os
import warnings
from datetime import date
from pathlib import Path


def place() -> Path:
    """Where the file lies."""
    return Path(os.environ.get("TML_LAB_PROGRESS") or Path.home() / ".tml_lab" / "progress.json")


def read() -> dict[str, str]:
    """`{exercise: date on which it was first solved}`; empty when there is no file, or a damaged one."""
    try:
        kept = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(when) for name, when in kept.items()} if isinstance(kept, dict) else {}


def solved(exercise: str) -> None:
    """Note that `exercise` is solved. Warns, in one sentence, when it cannot be written down."""
    kept = read()
    if exercise in kept:
        return
    path = place()
    partial = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(kept | {exercise: date.today().isoformat()}, indent=1), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        warnings.warn(f"your progress could not be kept in {path} ({error.strerror}).", stacklevel=2)


def forget() -> None:
    """Begin anew: the file goes."""
    place().unlink(missing_ok=True)
