"""How a browser fares with an hour of recording in the timeline, and with ten minutes in plotly's linked tracks.

    python benchmarks/timeline_hour.py --json benchmarks/results/timeline_hour.json

For each: seconds in Python, seconds until the page has drawn it, and the longest tasks (ms) that keep the page busy
while it opens, zooms, pans and plays. Above 100 ms a person feels it. Ends in about two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from hour import FRAMES, HOUR, fare, hour, tasks  # noqa: E402 # pyright: ignore[reportMissingImports]
from lab import browser_with  # noqa: E402 # pyright: ignore[reportMissingImports]
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from tml_lab.plot.linked import LinkedTracks  # noqa: E402
from tml_lab.plot.track import Track  # noqa: E402
from tml_lab.stream.recording import Recording  # noqa: E402


def plotly(browser: Browser, folder: Path, recording: Recording, track: Track) -> dict[str, Any]:
    """Ten minutes as plotly's linked tracks, on a page of its own; ten steps instead of sixty."""
    began = time.perf_counter()
    text = LinkedTracks(recording).add(track).to_html()
    made = time.perf_counter() - began
    (folder / "plotly.html").write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    found: dict[str, Any] = {"made_s": made, "page_mb": len(text) / 1e6}
    began = time.perf_counter()
    with tasks(browser, page) as found["open"]:
        page.goto((folder / "plotly.html").as_uri(), timeout=120_000)
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=120_000)
        page.evaluate(FRAMES, 4)
    found["drawn_s"] = time.perf_counter() - began
    with tasks(browser, page) as found["pan"]:
        for n in range(10):
            page.evaluate(
                "(range) => Plotly.relayout(document.querySelector('.js-plotly-plot'), { 'xaxis.range': range })",
                [50 * n, 50 * n + 100],
            )
            page.evaluate(FRAMES, 1)
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    to = parser.parse_args().json
    recording, track = hour()
    load = os.getloadavg()[0]
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = browser_with(driver)
        found = {"timeline": fare(browser, recording, track)}
        found["linked_tracks"] = plotly(browser, Path(folder), *hour(HOUR // 6))
        browser.close()
    for name, row in found.items():
        print(f"{name}: made in {row['made_s']:.1f} s, drawn after {row['drawn_s']:.1f} s")
        for what in ("open", "zoom", "pan", "play"):
            if what in row:
                cpu, wall = row[what]["cpu"], row[what]["wall"]
                print(f"  {what:5} longest task {cpu[0]:.0f} ms of the processor, {wall[0]:.0f} ms on the wall's clock")
    if to is not None:
        about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": load,
                 "date": time.strftime("%Y-%m-%d")}  # fmt: skip
        to.write_text(json.dumps({"about": about, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
