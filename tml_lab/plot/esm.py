"""Join small ES modules into one piece of text, without a build step: for anywidget, and for pages.

Neither has an address of its own, so a relative `import` in it resolves to nothing. `link` puts the imported files
into the text as `data:` addresses. The browser still sees separate modules: one scope each, loaded once, under their
own names in its debugger.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

# `import a, { b } from "./file.js";` or `import text from "./file.js?raw";`, each on a line of its own.
_IMPORT = re.compile(r'^(import\s[^;"]*?\sfrom\s+)"(\./[^"?]+)(\?raw)?";', re.MULTILINE)


_PLAIN = " !$&'()*+,/:;<=>?@[]^`{|}~"  # what need not be escaped in an address inside a double-quoted string


def _data_url(source: str) -> str:
    return "data:text/javascript;charset=utf-8," + quote(source, safe=_PLAIN)


def link(path: Path) -> str:
    """The module at `path` with every relative import replaced by its content.

    `import text from "./file.js?raw"` gives the file's text instead of its exports: an AudioWorklet is
    started from text. Raises FileNotFoundError naming the importing file when an import has no file behind
    it.
    """
    source = path.read_text(encoding="utf-8")

    def inline(match: re.Match[str]) -> str:
        target = (path.parent / match[2]).resolve()
        if not target.is_file():
            raise FileNotFoundError(f"{path.name} imports {match[2]}, but there is no file {target}.")
        if match[3]:
            module = f"export default {json.dumps(target.read_text(encoding='utf-8'))};"
        else:
            module = link(target) + f"\n//# sourceURL=tml_widgets/{target.name}"
        return f'{match[1]}"{_data_url(module)}";'

    return _IMPORT.sub(inline, source)
