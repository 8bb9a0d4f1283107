"""The audio worklets, run sample by sample in a page, and the words for what can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import soxr
from lab import browser_with
from playwright.sync_api import Page, Playwright

from tml_widgets.esm import link
from tml_widgets.live_session import STATIC

pytestmark = pytest.mark.e2e

# A worklet's script with the globals that the audio thread would give it.
HARNESS = """
(sources) => {
  new Function(sources.resampler)();
  window.makeNode = (name, sampleRate, processorOptions) => {
    let found;
    class AudioWorkletProcessor {
      constructor() { this.sent = []; this.port = { postMessage: (m) => this.sent.push(m) }; }
    }
    new Function("AudioWorkletProcessor", "registerProcessor", "sampleRate", sources[name])(
      AudioWorkletProcessor, (_, node) => { found = node; }, sampleRate);
    return new found({ processorOptions });
  };
}
"""


@pytest.fixture(scope="module")
def page(playwright: Playwright) -> Iterator[Page]:
    browser = browser_with(playwright)
    page = browser.new_page()
    page.route(
        "**/*",
        lambda route: route.fulfill(body="<!doctype html><title>test</title>", content_type="text/html"),
    )
    page.goto("http://localhost/")
    worklets = {
        name: (STATIC / f"worklets/{name}.js").read_text() for name in ("resampler", "capture", "player")
    }
    page.evaluate(HARNESS, worklets)
    yield page
    browser.close()


def resample(page: Page, sound: np.ndarray, rates: tuple[int, int], pieces: int) -> np.ndarray:
    script = """([sound, from, to, pieces]) => {
        const resampler = new TmlResampler(from, to), out = [];
        for (let at = 0; at < sound.length; at += pieces)
            out.push(...resampler.push(Float32Array.from(sound.slice(at, at + pieces))));
        return [...out, ...resampler.flush()];
    }"""
    return np.array(page.evaluate(script, [sound.tolist(), *rates, pieces]), np.float32)


@pytest.mark.parametrize("rates", [(44_100, 16_000), (48_000, 16_000), (16_000, 44_100), (16_000, 48_000)])
def test_resampler_agrees_with_soxr(page: Page, rates: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    t = np.arange(rates[0] // 2) / rates[0]
    speech_band = [(f, rng.uniform(0, 6)) for f in rng.uniform(80, 6500, 40)]
    sound = np.mean([np.sin(2 * np.pi * f * t + p) for f, p in speech_band], axis=0).astype(np.float32)
    ours = resample(page, sound, rates, 128)
    theirs = soxr.resample(sound, *rates, quality="VHQ")
    middle = slice(400, min(len(ours), len(theirs)) - 400)
    error = ours[middle] - theirs[middle]
    snr = 10 * np.log10(np.mean(theirs[middle] ** 2) / np.mean(error**2))
    assert snr > 60, f"{snr:.1f} dB"


def test_resampler_suppresses_what_would_alias(page: Page) -> None:
    t = np.arange(22_050) / 44_100
    out = resample(page, np.sin(2 * np.pi * 9_000 * t).astype(np.float32), (44_100, 16_000), 128)
    assert np.sqrt(np.mean(out[200:-200] ** 2)) < 0.002


@pytest.mark.parametrize("pieces", [1, 37, 441, 5000])
def test_resampler_does_not_care_about_pieces(page: Page, pieces: int) -> None:
    sound = np.random.default_rng(2).standard_normal(5000).astype(np.float32) / 4
    assert np.array_equal(
        resample(page, sound, (44_100, 16_000), pieces), resample(page, sound, (44_100, 16_000), 128)
    )


def play(page: Page, events: list[list[Any]], seconds: float) -> tuple[np.ndarray, int]:
    """Run the player at 16 kHz; `events` are [at second, message]: a ramp stands for the sound."""
    script = """([events, seconds]) => {
        const node = makeNode("player", 16000, { rate: 16000, lead: 0.12, longestLead: 0.3, turnSeconds: 0.2 });
        const out = [];
        const ramp = (turn) => Float32Array.from({ length: 3200 }, (_, i) => (turn * 3200 + i + 1) / 65536);
        for (let n = 0; n < seconds * 16000; n += 128) {
            while (events.length && events[0][0] * 16000 <= n) {
                const [, message] = events.shift();
                node.receive("turn" in message ? { turn: message.turn, samples: ramp(message.turn) } : message);
            }
            const block = new Float32Array(128);
            node.process([], [[block]]);
            out.push(...block);
        }
        return [out, node.underruns];
    }"""
    samples, underruns = page.evaluate(script, [events, seconds])
    return np.array(samples) * 65536, underruns


def expected(*turns: int | None) -> np.ndarray:
    """120 ms of silence, then turns; None is a turn of silence."""
    parts: list[np.ndarray] = [np.zeros(1920)]
    for turn in turns:
        parts.append(np.zeros(3200) if turn is None else np.arange(3200) + turn * 3200 + 1.0)
    return np.concatenate(parts)


def sounded(out: np.ndarray) -> np.ndarray:
    """From 120 ms before the first sound to the last one."""
    loud = np.flatnonzero(out)
    return out[loud[0] - 1920 : loud[-1] + 1]


def test_player_hides_jitter_up_to_the_lead(page: Page) -> None:
    late = [0.0, 0.11, 0.05, 0.115, 0.0]
    events = [[1 + 0.2 * n + late[n], {"turn": 5 + n}] for n in range(5)] + [[2.02, {"end": True}]]
    out, underruns = play(page, events, 3)
    assert underruns == 0
    assert np.array_equal(sounded(out), expected(5, 6, 7, 8, 9))


def test_player_keeps_the_length_of_a_silent_turn(page: Page) -> None:
    events = [[0, {"turn": 0}], [0.2, {"end": True}], [0.25, {"turn": 2}], [0.45, {"end": True}]]
    out, underruns = play(page, events, 2)
    assert underruns == 0
    assert np.array_equal(sounded(out), expected(0, None, 2))


def test_player_counts_a_turn_that_comes_too_late(page: Page) -> None:
    events = [[0, {"turn": 0}], [0.2 + 0.2, {"turn": 1}], [0.7, {"end": True}]]
    out, underruns = play(page, events, 2)
    assert underruns == 1
    assert set(np.flatnonzero(np.diff(np.flatnonzero(out)) > 1)) == {3199}  # one gap, between the two turns


def test_running_dry_at_the_end_of_what_is_said_is_no_gap(page: Page) -> None:
    events = [[0, {"turn": 0}], [0.5, {"end": True}], [0.9, {"turn": 5}], [1.1, {"end": True}]]
    _, underruns = play(page, events, 2)
    assert underruns == 0


def test_a_gap_makes_the_lead_longer(page: Page) -> None:
    late = [[0, {"turn": 0}], [0.45, {"turn": 1}], [0.8, {"turn": 2}], [1.2, {"end": True}]]
    out, underruns = play(page, late, 2)  # the third turn comes 150 ms after the second should have ended
    assert underruns == 1, "the second gap should have been hidden by the longer lead"
    silent = np.diff(np.flatnonzero(out)).max() - 1
    assert silent == pytest.approx((0.45 - 0.32 + 0.18) * 16_000, abs=256)


def test_the_page_says_how_long_the_lead_is(page: Page) -> None:
    late = [[0, {"lead": 0.25}], [0, {"turn": 0}], [0.44, {"turn": 1}], [0.6, {"lead": 0.12}], [0.64, {"end": True}]]
    again = [[1.0, {"turn": 5}], [1.2, {"end": True}]]
    out, underruns = play(page, [*late, *again], 2)
    assert underruns == 0  # the second turn came 240 ms late
    started = np.flatnonzero(np.diff((out != 0).astype(int)) == 1) + 1
    assert started[0] == pytest.approx(0.25 * 16_000, abs=128)
    assert started[1] == pytest.approx(1.12 * 16_000, abs=128)


def leads(page: Page, turns: list[tuple[int, float]]) -> list[float]:
    """What lead.js asks for after each of `(turn, second at which it came)`."""
    script = """async ([code, turns]) => {
        const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
        const { Lead } = await import(address);
        const lead = new Lead(0.2);
        return turns.map(([turn, second]) => lead.came(turn, second));
    }"""
    return page.evaluate(script, [(STATIC / "lead.js").read_text(), turns])


def test_the_lead_is_as_long_as_the_latest_turn_of_half_a_minute_was_late(page: Page) -> None:
    quiet = leads(page, [(n, 7 + 0.2 * n + 0.03 * (n % 3)) for n in range(40)])
    assert quiet == [0.12] * 40
    once = leads(page, [(n, 7 + 0.2 * n + (0.16 if n == 10 else 0)) for n in range(200)])
    assert once[:10] == [0.12] * 10 and once[10:160] == pytest.approx([0.18] * 150) and once[160:] == [0.12] * 40
    assert leads(page, [(0, 1.0), (1, 1.2), (2, 4.4)])[-1] == 0.3  # a machine that slept tells nothing of the next word
    skipping = leads(page, [(n, 0.2 * n) for n in (0, 1, 2, 9, 10)])
    assert skipping == [0.12] * 5  # turns that were caught up without an answer are not late


def test_capture_mixes_to_mono_and_cuts_half_turns(page: Page) -> None:
    script = """() => {
        const node = makeNode("capture", 16000, { rate: 16000, turnSamples: 3200 });
        for (let n = 0; n < 3200; n += 128) {
            const left = Float32Array.from({ length: 128 }, (_, i) => (n + i) / 4096);
            node.process([[left, new Float32Array(128)]]);
        }
        return node.sent.map((half) => [...half]);
    }"""
    halves = np.array(page.evaluate(script))
    assert np.array_equal(halves, (np.arange(3200) / 8192).reshape(2, 1600))


def errors_module() -> str:
    return "data:text/javascript," + quote(link(STATIC / "errors.js"))


@pytest.mark.parametrize("address", ["http://localhost/", "http://192.0.2.7/"])
def test_only_a_secure_page_has_no_obstacle(page: Page, address: str) -> None:
    page.goto(address)
    words = page.evaluate("async (module) => (await import(module)).obstacle()", errors_module())
    assert bool(words) == ("localhost" not in address)
    assert ("https" in words) == bool(words)


def test_every_refusal_has_words_of_its_own(page: Page) -> None:
    names = [
        "NotAllowedError",
        "NotFoundError",
        "NotReadableError",
        "OverconstrainedError",
        "SecurityError",
        "Odd",
    ]
    script = """async ([module, names]) => {
        const { inPlainWords } = await import(module);
        return names.map((name) => inPlainWords(new DOMException("", name)));
    }"""
    words = page.evaluate(script, [errors_module(), names])
    assert len(set(words)) == len(names)
    assert all(sentence.endswith(".") and "undefined" not in sentence for sentence in words)
    assert "Odd" in words[-1]
