"""One JupyterLab for all browser tests; they are left out where there is no Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # lab.py and echo_session.py are also imported by the kernels

import lab as browser_lab
from playwright.sync_api import Browser, Playwright, sync_playwright


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    if not Path(browser_lab.CHROMIUM).exists():
        pytest.skip(f"there is no Chromium at {browser_lab.CHROMIUM}: apt-get install chromium")
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = browser_lab.browser_with(playwright)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser_lab.Lab]:
    server = browser_lab.Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def tones() -> np.ndarray:
    """Bursts of a gliding tone, float32 [7 s at 16 kHz]: every 0.2 s of it is like no other."""
    t = np.arange(7 * 16_000) / 16_000
    glide = np.sin(2 * np.pi * (200 * t + 90 * t**2))
    return (0.25 * glide * (np.sin(2 * np.pi * t / 1.4) > -0.2)).astype(np.float32)
