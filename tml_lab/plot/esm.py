"""Join small ES modules into one piece of text, without a build step: for anywidget, and for pages.

Neither has an address of its own, so a relative `import` in it resolves to nothing. `link` puts the files into one
text, which gives each a `blob:` address when it runs. The browser still sees separate modules: one scope each, loaded
once, under their own names in its debugger. (`data:` addresses would lie inside one another, escaped anew at each
level: the time to read those grows faster than the code.)
"""

from __future__ import annotations

import json
import re
from pathlib import Path

# `import a, { b } from "./file.js";` or `import text from "./file.js?raw";`, each on a line of its own.
_IMPORT = re.compile(r'^(import\s[^;"]*?\sfrom\s+)"(\./[^"?]+)(\?raw)?";', re.MULTILINE)

_RUN = """const sources = %s;
const addresses = [];
for (const source of sources) {
  const placed = source.replace(/ from "module:(\\d+)";/g, (_, n) => ` from "${addresses[n]}";`);
  addresses.push(URL.createObjectURL(new Blob([placed], { type: "text/javascript" })));
}
const { default: entry } = await import(addresses.at(-1));
addresses.forEach((address) => URL.revokeObjectURL(address));
export default entry;
"""


def link(path: Path) -> str:
    """The module at `path` with everything that it imports; what it exports by default, the text does.

    `import text from "./file.js?raw"` gives the file's text instead of its exports: an AudioWorklet is started from
    text. Raises FileNotFoundError naming the importing file when an import has no file behind it, and ValueError when
    modules import each other in a circle.
    """
    sources: list[str] = []
    _place(path.resolve(), False, {}, sources)
    if len(sources) == 1:  # nothing to join: all its exports stay
        return sources[0]
    # "</" would end a script element that this is put into.
    return _RUN % json.dumps(sources, ensure_ascii=False, indent=0).replace("</", "<\\/")


def _place(path: Path, raw: bool, places: dict[tuple[Path, bool], int | None], sources: list[str]) -> int:
    """Append a module behind those that it imports; returns its place."""
    if (path, raw) in places:
        place = places[path, raw]
        if place is None:
            raise ValueError(f"{path.name} imports itself by way of others: modules are joined one after the other.")
        return place
    places[path, raw] = None  # being placed
    text = path.read_text(encoding="utf-8")

    def inline(match: re.Match[str]) -> str:
        target = (path.parent / match[2]).resolve()
        if not target.is_file():
            raise FileNotFoundError(f"{path.name} imports {match[2]}, but there is no file {target}.")
        place = _place(target, bool(match[3]), places, sources)
        return f'{match[1].rstrip()} "module:{place}";'

    text = f"export default {json.dumps(text)};" if raw else _IMPORT.sub(inline, text)
    sources.append(f"{text}\n//# sourceURL=tml/{path.name}")
    place = places[path, raw] = len(sources) - 1
    return place
