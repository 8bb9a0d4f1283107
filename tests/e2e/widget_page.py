"""A widget in a page without Lab: its own module, and its own Python half behind it, in a second instead of seven.

The page's model has the few methods that anywidget gives a module: get, set, save_changes, send, on, off.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from anywidget import AnyWidget
from playwright.sync_api import Page, Route

SHELL = """<!doctype html><meta charset="utf-8"><style>%(css)s</style><body style="margin:0;background:%(paper)s">
<div id="here"></div><script type="module">
const MODULE = %(module)s;
const values = %(values)s, acts = {}, dirty = new Set();
const fire = (name, ...rest) => { for (const act of [...(acts[name] ?? [])]) act(...rest); };
const model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; dirty.add(name); fire(`change:${name}`); },
  save_changes: () => {
    const changed = Object.fromEntries([...dirty].map((name) => [name, values[name]]));
    dirty.clear();
    python("state", changed);
  },
  on: (name, act) => (acts[name] ??= new Set()).add(act),
  off: (name, act) => acts[name]?.delete(act),
  send: async (content) => {
    for (const [reply, buffers] of await python("message", content)) fire("msg:custom", reply, buffers);
  },
};
// A reply: the length of its JSON, the JSON, and the buffers behind it.
async function python(kind, content) {
  const answer = await fetch("/python", { method: "POST", body: JSON.stringify([kind, content]) });
  const all = await answer.arrayBuffer();
  let at = 4 + new DataView(all).getUint32(0, true);
  const replies = JSON.parse(new TextDecoder().decode(new Uint8Array(all, 4, at - 4)));
  return replies.map(([reply, sizes]) => [reply, sizes.map((size) => new DataView(all, (at += size) - size, size))]);
}
window.fromPython = (name, value) => { values[name] = value; fire(`change:${name}`); };
const module = await import(URL.createObjectURL(new Blob([MODULE], { type: "text/javascript" })));
window.stop = await module.default.render({ model, el: document.getElementById("here") });
</script>"""

COLOURS = """(name) => {
  const canvas = document.querySelector(`[data-lane="${name}"] canvas`);
  if (!canvas) return 0;
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(data.buffer)).size;
}"""


def plot_fixtures() -> ModuleType:
    path = Path(__file__).parents[1] / "plot" / "conftest.py"
    spec = importlib.util.spec_from_file_location("plot_fixtures", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class WidgetPage:
    """A widget shown in a page; traits go both ways."""

    def __init__(self, page: Page, widget: AnyWidget, paper: str = "#fff") -> None:
        self.page, self.widget = page, widget
        self.wrong: list[str] = []
        self.names = [name for name in widget.get_state() if not name.startswith("_")]
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        widget.observe(lambda change: None if self._busy else self._to_page(change), self.names)
        self._busy = False
        values = json.dumps({name: value for name, value in widget.get_state().items() if name in self.names})
        text = SHELL % {"css": widget._css, "module": json.dumps(str(widget._esm)).replace("</", "<\\/"),
                        "values": values, "paper": paper}  # fmt: skip
        page.route("http://widget/**", lambda route: self._serve(route, text))
        page.goto("http://widget/")

    def _serve(self, route: Route, text: str) -> None:
        if not route.request.url.endswith("/python"):
            route.fulfill(body=text, content_type="text/html; charset=utf-8")
            return
        replies = self._from_page(*json.loads(route.request.post_data or "[]"))
        header = json.dumps([[message, [len(one) for one in buffers]] for message, buffers in replies]).encode()
        parts = [len(header).to_bytes(4, "little"), header, *(one for _, buffers in replies for one in buffers)]
        route.fulfill(body=b"".join(parts), content_type="application/octet-stream")

    def _from_page(self, kind: str, content: dict[str, Any]) -> list[tuple[dict, list[bytes]]]:
        if kind == "state":
            self._busy = True
            try:
                for name, value in content.items():
                    setattr(self.widget, name, tuple(value) if isinstance(value, list) else value)
            finally:
                self._busy = False
            return []
        replies: list[tuple[dict, list[bytes]]] = []
        self.widget.send = lambda message, buffers=None: replies.append(  # type: ignore[method-assign]
            (message, [bytes(one) for one in buffers or ()])
        )
        self.widget._on_message(self.widget, content, [])
        return replies

    def _to_page(self, change: Any) -> None:
        self.page.evaluate("([name, value]) => window.fromPython(name, value)", [change["name"], change["new"]])
