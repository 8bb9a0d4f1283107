"""A real JupyterLab and a real Chromium for the browser tests, with a fake microphone and camera."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nbformat
import numpy as np
import soundfile
import soxr
from jupyter_client.blocking.client import BlockingKernelClient
from playwright.sync_api import Browser, Page, Playwright, expect

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
DEVICE_RATE = 44_100  # a fake microphone of this rate in a context of this rate arrives untouched


def write_microphone(path: Path, sound: np.ndarray) -> None:
    """A WAV that Chromium's fake microphone plays once: float32 [n] at 16 kHz -> 44.1 kHz 16 bit mono."""
    soundfile.write(path, soxr.resample(sound, 16_000, DEVICE_RATE), DEVICE_RATE, subtype="PCM_16")


def write_camera(path: Path, seconds: float = 6.0) -> None:
    """A y4m video: a white square that moves over grey, 160x120 at 10 frames/s."""
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W160 H120 F10:1 Ip A1:1 C420mpeg2\n")
        for n in range(round(seconds * 10)):
            luma = np.full((120, 160), 90, np.uint8)
            luma[40:80, 2 * n % 120 : 2 * n % 120 + 40] = 235
            file.write(b"FRAME\n" + luma.tobytes() + bytes([128]) * (2 * 60 * 80))


def write_film(path: Path, film: np.ndarray) -> None:
    """A y4m video of pictures, uint8 RGB `[n, H, W, 3]` with even edges, at 10 frames/s: BT.601, colours halved."""
    height, width = film.shape[1:3]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420mpeg2\n".encode())
        for red, green, blue in film.astype(np.float32).transpose(0, 3, 1, 2):
            luma = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
            cb = 128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255
            cr = 128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255
            halved = [c.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) for c in (cb, cr)]
            file.write(b"FRAME\n" + b"".join(plane.round().astype(np.uint8).tobytes() for plane in (luma, *halved)))


def browser_with(
    playwright: Playwright,
    microphone: Path | None = None,
    camera: Path | None = None,
    allow: bool = True,
    device: bool = True,
    loop: bool = False,
) -> Browser:
    """Debian's Chromium with a fake microphone and camera.

    Without `allow` it refuses them as a person would; without `device` the machine has none. With `loop` the
    microphone's file begins again when it ends.
    """
    flags = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--autoplay-policy=user-gesture-required",
    ]  # fmt: skip
    if device:
        flags.append("--use-fake-device-for-media-stream")
    flags.append("--use-fake-ui-for-media-stream" if allow else "--deny-permission-prompts")
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}{'' if loop else '%noloop'}")
    if camera is not None:
        flags.append(f"--use-file-for-fake-video-capture={camera}")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


def type_to_model(page: Page, line: str) -> None:
    """Type a line into the live widget."""
    page.get_by_label("Type to the model").fill(line)
    page.keyboard.press("Enter")


def until_turn(page: Page, turn: int, seconds: float = 60.0) -> None:
    """Wait until the live widget describes this turn or a later one, for so many seconds at most."""
    page.wait_for_function(
        r"""(n) => {
            const line = document.querySelector(".tml-described").textContent;
            return Number(line.match(/turn (\d+)/)?.[1] ?? -1) >= n;
        }""",
        arg=turn,
        timeout=1000 * seconds,
    )


def stop_and_save(page: Page) -> None:
    """Stop the live widget, and save what it recorded under `saved`."""
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Stopped")
    page.locator(".tml-save").click()
    expect(page.locator(".tml-notice")).to_have_text(re.compile(r"Saved as saved/live-[-0-9]+\.tml\.zip"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """One JupyterLab server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runtime = folder, folder / "runtime"
        self.port = _free_port()
        for name in ("runtime", "settings", "workspaces", "config", "data"):
            (folder / name).mkdir()
        paths = [str(REPOSITORY / part) for part in (".", "widgets", "kernels", "tests/e2e")]
        environment = os.environ | {
            "JUPYTER_RUNTIME_DIR": str(self.runtime), "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "JUPYTER_DATA_DIR": str(folder / "data"),
            "PYTHONPATH": os.pathsep.join(paths),
        }  # fmt: skip
        self._books = 0
        # Lab would ask whether to fetch news, in a box over the page.
        news = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        news.parent.mkdir(parents=True)
        news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        self.log = (folder / "lab.log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                f"--ServerApp.port={self.port}",
                "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
                "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=",
                "--LabApp.extension_manager=readonly",
            ],
            cwd=folder, env=environment, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urlopen(f"http://127.0.0.1:{self.port}/api", timeout=5).close()
                return
            except OSError:
                self._pause()
        raise RuntimeError(f"JupyterLab did not start: {(self.folder / 'lab.log').read_text()[-2000:]}")

    def _pause(self) -> None:
        """Until the server is up there is nothing to wait *for*: look again shortly, or see it die."""
        try:
            self.process.wait(0.1)
        except subprocess.TimeoutExpired:
            return

    def close(self) -> None:
        """Stop the server and its kernels."""
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook with these code cells; returns its name."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, self.folder / name)
        return name

    def show(self, page: Page, *cells: str, ready: str = ".tml-live") -> None:
        """Open a notebook made of these cells, as `open` does."""
        self._books += 1
        self.open(page, self.notebook(f"book{self._books}.ipynb", *cells), ready)

    def open(self, page: Page, name: str, ready: str = ".tml-live") -> None:
        """Open a notebook in Lab, run all its cells and wait for the widget."""
        page.goto(f"http://127.0.0.1:{self.port}/lab/workspaces/{name.split('.')[0]}")
        page.wait_for_function(
            "() => window.jupyterapp && window.jupyterapp.commands.hasCommand('notebook:run-all-cells')"
        )
        page.evaluate(
            """async (path) => {
                const app = window.jupyterapp;
                await app.restored;
                const panel = await app.commands.execute('docmanager:open', { path, factory: 'Notebook' });
                await panel.context.ready;
                await panel.sessionContext.ready;
                await app.commands.execute('application:toggle-left-area').catch(() => null);
                await app.commands.execute('notebook:run-all-cells');
            }""",
            name,
        )
        page.wait_for_selector(ready, timeout=60_000)

    @contextmanager
    def kernel(self, page: Page) -> Iterator[Kernel]:
        """The kernel of the notebook that the page shows, to look into it from the test."""
        identity = page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id"
        )
        client = BlockingKernelClient(connection_file=str(self.runtime / f"kernel-{identity}.json"))
        client.load_connection_file()
        client.start_channels()
        try:
            yield Kernel(client)
        finally:
            client.stop_channels()


class Kernel:
    """Evaluates expressions in a running kernel."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def until(self, condition: str, seconds: float = 30.0) -> None:
        """Ask until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.get(f"bool({condition})"):
            assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"

    def get(self, expression: str, setup: str = "") -> Any:
        """The value of a JSON-ready expression."""
        reply = self.client.execute_interactive(
            setup,
            silent=True,
            user_expressions={"value": f"__import__('json').dumps({expression})"},
            timeout=60,
        )
        answer = reply["content"]
        if answer["status"] != "ok" or answer["user_expressions"]["value"]["status"] != "ok":
            raise RuntimeError(f"the kernel answered {json.dumps(answer, indent=1)[-2000:]}")
        text = answer["user_expressions"]["value"]["data"]["text/plain"]
        return json.loads(eval(text))
