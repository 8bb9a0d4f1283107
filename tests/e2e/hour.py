"""An hour of recording, and how a browser fares with it: its longest tasks while it opens, zooms, pans and plays."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page
from widget_page import WidgetPage

from tml_lab.config import TURN_SAMPLES
from tml_lab.plot.decision import lens_track
from tml_lab.plot.track import Track
from tml_lab.stream.layout import STREAM_NAMES
from tml_lab.stream.recording import Attention, Inputs, Recording
from tml_widgets import Timeline

HOUR = 18_000  # turns
FRAMES = """(n) => new Promise((done) => {
  const step = () => (n-- > 0 ? requestAnimationFrame(step) : done());
  step();
})"""


def hour(turns: int = HOUR) -> tuple[Recording, Track]:
    """Noise in bursts, a word every two seconds, a watched head, and a lens over 12 layers."""
    rng = np.random.default_rng(0)
    ten = rng.standard_normal(50 * TURN_SAMPLES).astype(np.float32) * 0.1
    ten *= np.repeat(rng.random(500) ** 3, TURN_SAMPLES // 10).astype(np.float32)
    speaks = np.arange(turns) % 10 < 3
    own = np.zeros((turns, TURN_SAMPLES), np.float32)
    own[speaks] = 0.2 * np.sin(np.arange(TURN_SAMPLES) / 7)
    lag = np.zeros((turns, len(STREAM_NAMES), 64), np.float16)
    lag[:, 2, :8], lag[:, 3, 1] = 0.1, 0.2
    recording = Recording(
        Inputs(np.tile(ten, turns // 50 + 1)[: turns * TURN_SAMPLES]),
        tuple(np.where(speaks, "<speak>", "<silent>")), rng.random(turns).astype(np.float32),
        tuple(("word",) if n % 10 == 0 else () for n in range(turns)), own.reshape(-1),
        attention=Attention(3, 0, STREAM_NAMES, lag, lag.sum(2).astype(np.float32)),
    )  # fmt: skip
    return recording, lens_track(rng.standard_normal((12, turns)).astype(np.float32))


@contextmanager
def tasks(browser: Browser, page: Page) -> Iterator[dict[str, list[float]]]:
    """What the page's main thread did meanwhile: milliseconds of its longest tasks, `cpu` and on the wall's clock.

    A person feels the wall's; on a busy machine the processor's own is what can be compared.
    """
    found: dict[str, list[float]] = {"cpu": [], "wall": []}
    browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
    yield found
    page.evaluate(FRAMES, 2)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    mains = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and "RendererMain" in str(e["args"])}
    runs = [e for e in events if e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in mains and "dur" in e]
    found["cpu"] = sorted((e.get("tdur", 0) / 1000 for e in runs), reverse=True)[:50]
    found["wall"] = sorted((e["dur"] / 1000 for e in runs), reverse=True)[:50]


def fare(browser: Browser, recording: Recording, track: Track) -> dict[str, Any]:
    """Seconds until it is drawn, and the tasks of each thing that a person does with an hour."""
    began = time.perf_counter()
    line = Timeline(recording, track, theme="light")
    found: dict[str, Any] = {"made_s": time.perf_counter() - began}
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    began = time.perf_counter()
    with tasks(browser, page) as found["open"]:
        shown = WidgetPage(page, line)
        page.wait_for_selector(".tml-stage")
        page.evaluate(FRAMES, 4)
    found["drawn_s"] = time.perf_counter() - began
    with tasks(browser, page) as found["zoom"]:
        for n in range(30):  # overview to a word, as with the wheel
            line.view = (0.0, 3600.0 * 0.76**n)
            page.evaluate(FRAMES, 1)
    with tasks(browser, page) as found["pan"]:
        for width in (3600.0, 600.0, 30.0):
            for n in range(20):
                start = (3600.0 - width) * n / 20
                line.view = (start, start + width)
                page.evaluate(FRAMES, 1)
    line.turn = 9000
    with tasks(browser, page) as found["play"]:
        page.locator(".tml-stage").press(" ")
        page.wait_for_function("() => document.querySelector('.tml-stage').getAttribute('aria-valuenow') > 1803")
        page.locator(".tml-stage").press(" ")
    assert shown.wrong == []
    page.close()
    return found
