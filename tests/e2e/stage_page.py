"""A live widget's own module in a page without Lab, with the browser's microphone and a kernel that the test plays."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, Route

from tml_widgets import Console, LiveSession

SHELL = """<!doctype html><html lang="en"><meta charset="utf-8"><title>stage</title><style>%(css)s</style>
<body style="margin:0;background:#fff"><div id="here"></div><script type="module">
const acts = {};
const values = { model_name: "nano", clips: ["one", "two"], heads: [2, 2], understands: [], bookmarks: [],
  camera: false, colleague: false, elsewhere: false, stream: null, ...%(values)s };
window.sent = [];
window.put = (name, value) => model.set(name, value);
window.tracks = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  if (window.refuse) throw new DOMException("no", window.refuse);
  const stream = await ask(wanted);
  tracks.push(...stream.getTracks());
  return stream;
};
window.fire = (name, ...rest) => { for (const act of [...(acts[name] ?? [])]) act(...rest); };
const model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; window.fire(`change:${name}`); },
  save_changes: () => {},
  on: (name, act) => (acts[name] ??= new Set()).add(act),
  off: (name, act) => acts[name]?.delete(act),
  send: (content) => window.sent.push(content),
};
const { default: make } = await import(URL.createObjectURL(new Blob([%(module)s], { type: "text/javascript" })));
const widget = make();
widget.initialize({ model });
widget.render({ model, el: document.getElementById("here") });
document.body.dataset.ready = "1";
</script></body></html>"""


class Stage:
    """The widget in a page.

    Args:
        kind: whose module it is.
        values: of its traits.
    """

    def __init__(self, page: Page, kind: type[LiveSession] = Console, **values: Any) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        module = json.dumps(str(kind._esm)).replace("</", "<\\/")
        text = SHELL % {"css": kind._css, "module": module, "values": json.dumps(values)}

        def answer(route: Route) -> None:
            route.fulfill(body=text, content_type="text/html; charset=utf-8")

        page.route("http://localhost/**", answer)
        page.goto("http://localhost/")
        page.wait_for_selector("body[data-ready]", state="attached")

    def tell(self, **message: Any) -> None:
        """A message from the kernel."""
        self.page.evaluate("(message) => window.fire('msg:custom', message, [])", message)

    def status(self, phase: str, notice: str = "", **more: Any) -> None:
        """A status message from the kernel."""
        self.tell(kind="status", phase=phase, notice=notice, **more)

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """What the page has sent of this kind."""
        return self.page.evaluate("(kind) => window.sent.filter((message) => message.kind === kind)", kind)

    def wait_for(self, kind: str, n: int = 1) -> None:
        """Until the page has sent `n` messages of this kind."""
        self.page.wait_for_function(
            "([kind, n]) => window.sent.filter((one) => one.kind === kind).length >= n", arg=[kind, n], timeout=30_000
        )

    def press(self, *keys: str) -> None:
        """Keys, with the focus on the console."""
        self.page.locator(".tml-live").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def go_live(self) -> None:
        """Start, as with a kernel that answers; some sound has come."""
        starts, chunks = len(self.sent("start")), len(self.sent("chunk"))
        self.page.locator(".tml-start").click()
        self.wait_for("start", starts + 1)
        self.status("loading", "Waking the model ...")
        self.status("live")
        self.tell(kind="ready")
        self.wait_for("chunk", chunks + 1)

    def turn(self, n: int, **more: Any) -> None:
        """The answer to chunk `n`."""
        self.tell(
            kind="turn", turn=n, seq=n, decision="<silent>", p_speak=0.1, words=[], heard="", typed=None, missed=0,
            model_ms=10.0, waited_ms=0.0, t0=None, shares=None, lost_video=0, parts=[], **more,
        )  # fmt: skip
