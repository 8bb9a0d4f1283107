"""Join small ES modules into the single module that anywidget sends to the browser, without a build step.

anywidget hands the browser one piece of text, which has no address of its own, so a relative `import` in it
resolves to nothing. `link` puts all the files into one text, which gives each an address (a blob) when it runs. The
browser still sees separate modules: one scope each, loaded once, under their own names in its debugger. (With `data:`
addresses inside each other every `%` is escaped as often as they are nested; on a busy machine a widget of 24 modules
took 4 s to load that way, and anywidget waits for 2.)
"""

from __future__ import annotations

import json
import re
from pathlib import Path

# `import a, { b } from "./file.js";` or `import text from "./file.js?raw";`, each on a line of its own.
_IMPORT = re.compile(r'^import\s[^;"]*?\sfrom\s+"(\./[^"?]+)(\?raw)?";', re.MULTILINE)

_LOADER = """\
const modules = %s;
const addresses = {};
for (const [name, source, imports] of modules) {
  let text = source;
  for (const [path, target] of Object.entries(imports)) {
    text = text.replaceAll(`from "${path}";`, () => `from "${addresses[target]}";`);
  }
  const named = `\\n//# sourceURL=tml_widgets/${name}`;
  addresses[name] = URL.createObjectURL(new Blob([text, named], { type: "text/javascript" }));
}
const { default: widget } = await import(addresses[modules.at(-1)[0]]);
for (const address of Object.values(addresses)) URL.revokeObjectURL(address);
export default widget;
"""


def link(path: Path) -> str:
    """The module at `path` and all that it imports, as one module with the same default export.

    `import text from "./file.js?raw"` gives the file's text instead of its exports: an AudioWorklet is
    started from text. Raises FileNotFoundError naming the importing file when an import has no file behind
    it, ValueError when modules import each other in a circle.
    """
    found = modules(path)
    return found[0][1] if len(found) == 1 else _LOADER % json.dumps(found, ensure_ascii=False)


def modules(path: Path) -> list[tuple[str, str, dict[str, str]]]:
    """`(name, source, {import path: name})` of each module once, what is imported before what imports it."""
    found: dict[str, tuple[str, str, dict[str, str]]] = {}
    _collect(path.resolve(), path.resolve().parent, found, ())
    return list(found.values())


def _collect(path: Path, root: Path, found: dict[str, tuple[str, str, dict[str, str]]], above: tuple[str, ...]) -> str:
    name = path.relative_to(root).as_posix()
    if name in above:
        raise ValueError(f"{' imports '.join([*above[above.index(name) :], name])}: modules must not go in a circle.")
    if name not in found:
        source = path.read_text(encoding="utf-8")
        imports: dict[str, str] = {}
        for match in _IMPORT.finditer(source):
            target = (path.parent / match[1]).resolve()
            if not target.is_file():
                raise FileNotFoundError(f"{path.name} imports {match[1]}, but there is no file {target}.")
            if match[2]:
                raw = f"{target.relative_to(root).as_posix()}?raw"
                text = json.dumps(target.read_text(encoding="utf-8"))
                found.setdefault(raw, (raw, f"export default {text};", {}))
                imports[match[1] + "?raw"] = raw
            else:
                imports[match[1]] = _collect(target, root, found, (*above, name))
        found[name] = (name, source, imports)
    return name
