"""What the network side adds to a turn: the same session in this process and over a loopback WebSocket, turn about.

    python benchmarks/socket_overhead.py --json benchmarks/results/socket_overhead.json     (half a minute)

The seconds of the model and of the queue, which the server reports, are taken off; what is left is packing, the
threads, the socket and unpacking.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np
import uvicorn

from tml_lab.bench.machine import machine
from tml_lab.config import TURN_SAMPLES
from tml_lab.serve.app import create_app
from tml_lab.serve.engine import Engine
from tml_lab.serve.gate import Settings
from tml_lab.serve.launch import bind, uvicorn_config
from tml_lab.serve.limits import Limits
from tml_lab.serve.session import Session
from tml_lab.serve.warm import load_warm


def overhead(session: Session, turns: list[tuple[np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """Milliseconds of each turn beside the model and the queue: float64 [turns]."""
    rest = []
    for audio, frames in turns:
        began = time.perf_counter()
        session.step(audio, frames)
        took = time.perf_counter() - began
        assert session.last is not None
        rest.append(1e3 * (took - session.last.model - session.last.waited))
    return np.array(rest)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((options.turns, TURN_SAMPLES)).astype(np.float32) / 20
    picture = rng.integers(0, 256, (2, 120, 160, 3), np.uint8)
    engine = Engine(*load_warm(options.checkpoint), limits=Limits(shed=False))
    settings = Settings()
    server = uvicorn.Server(uvicorn_config(create_app(engine, settings), settings))
    listener = bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
    rows = {}
    cases = [
        ("sound", None, {}),
        ("sound, s16", None, {"sound": "s16"}),
        ("sound and pictures", picture, {}),
        ("sound and pictures, jpeg", picture, {"pictures": "jpeg"}),
    ]
    # All are opened first: an engine that is late takes no more.
    sessions = [(Session(engine, engine.open()), Session.connect(url, **how)) for _, _, how in cases]
    for (name, frames, _), (inside, outside) in zip(cases, sessions, strict=True):
        with inside, outside:
            both: dict[str, list[np.ndarray]] = {"here": [], "loopback": []}
            for start in range(0, options.turns, 20):  # turn about, so that the machine's moods fall on both
                part = [(audio, frames) for audio in sound[start : start + 20]]
                both["here"].append(overhead(inside, part))
                both["loopback"].append(overhead(outside, part))
        for where, ms in both.items():
            p50, p99 = np.percentile(np.concatenate(ms), [50, 99])
            rows[f"{name}, {where}"] = {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}
            print(f"{name + ', ' + where:<36} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms")
    server.should_exit = True
    thread.join(30)
    engine.stop()
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "overhead": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
