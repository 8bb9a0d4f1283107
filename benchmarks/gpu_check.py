# ruff: noqa: E402  (what a bare machine lacks must be replaced before it is imported)
"""All that needs a GPU, in one short run: for a machine that is at hand for minutes only.

    PYTHONPATH=.:kernels:widgets OUT=folder python benchmarks/gpu_check.py --seconds 90

    tests      tests/kernels, and the session by graphs
    sessions   the same recording on CPU and GPU, plain and by CUDA graphs: decisions; milliseconds a turn
    rows       whether a row of the matrix product keeps its bits from one tile to another
    kernels    benchmarks/kernels.py, in what time is left

Each part has a budget, catches its own failure, and leaves what it found in `$OUT/gpu_check.json` at once.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def stand_in(*names: str) -> None:
    """Empty modules for sound libraries that a bare machine may lack, here and in the processes started from here."""
    folder = Path(tempfile.mkdtemp())
    for name in names:
        (folder / f"{name}.py").write_text("class LibsndfileError(Exception): ...\nclass SoundFile: ...\n")
    sys.path.append(str(folder))  # last: where the real ones are installed, they are found first
    os.environ["PYTHONPATH"] = os.pathsep.join([p for p in (os.environ.get("PYTHONPATH"), str(folder)) if p])


stand_in("soundfile", "soxr")

from tml_lab.bench.machine import machine, now
from tml_lab.bench.runner import SteeredModel
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.model.text import SILENT, SPEAK
from tml_lab.stream.graphed import Graphed
from tml_lab.stream.session import Session

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "data" / "recordings" / "demo" / "repeat_numbers.flac"
TURNS = 40  # of the clip
PARTS = ("tests", "sessions", "rows", "kernels")
SHARE = {"tests": 0.5, "kernels": 1.0}  # of the seconds left, at most


def commands(lines: list[list[str]], seconds: float) -> list[dict[str, Any]]:
    """Run Python side by side in the repository's root, for so long at most; the end of what each says."""
    end, started = time.monotonic() + seconds, []
    for args in lines:
        said = tempfile.TemporaryFile("w+")  # noqa: SIM115  (read below, closed with the process)
        run = subprocess.Popen([sys.executable, *args], cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        started.append((run, said))
    found = []
    for (run, said), args in zip(started, lines, strict=True):
        try:
            run.wait(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # with what it has started: the next part is timed
            run.wait()
        said.seek(0)
        tail = said.read().splitlines()[-40:]
        print(f"{args}: {run.returncode}", *tail[-30:], sep="\n", flush=True)
        found.append({"ran": args, "returned": run.returncode, "tail": tail})
    return found


def tests(seconds: float, out: Path) -> list[dict[str, Any]]:
    """The kernels' tests on the GPU and the sessions' by graphs: a process for each file, for each compiles its own."""
    files = [p for p in sorted((ROOT / "tests" / "kernels").glob("test_*.py")) if "check_kernel" in p.read_text()]
    shared = ["-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    lines = [[*shared, "-k", "triton", str(file.relative_to(ROOT))] for file in files]
    return commands([[*shared, "tests/stream/test_graphed.py"], *lines], seconds)


def kernels(seconds: float, out: Path) -> list[dict[str, Any]]:
    """The table of kernels, in what is left."""
    file = out / f"kernels_{torch.cuda.get_device_name().replace(' ', '_')}.json"
    budget = max(1.0, seconds - 12)  # starting takes a while, and so does the last row
    return commands([["benchmarks/kernels.py", "--json", str(file), "--seconds", f"{budget:.0f}"]], seconds)


def clip() -> np.ndarray:
    """A recording, or noise where no sound library is: float32 [turns, 3200]."""
    try:
        from tml_lab.signal.audio import read_audio

        sound = read_audio(CLIP)
    except Exception as error:  # no soundfile, no soxr: the numbers can be compared all the same
        print(f"noise instead of a recording: {error}")
        sound = (0.1 * np.random.default_rng(0).standard_normal(TURNS * TURN_SAMPLES)).astype(np.float32)
    turns = min(TURNS, len(sound) // TURN_SAMPLES)
    return sound[: turns * TURN_SAMPLES].reshape(turns, TURN_SAMPLES)


def sessions(seconds: float, out: Path) -> dict[str, Any]:
    """Decisions on both devices, and milliseconds a turn with a 160x120 camera."""
    end = time.monotonic() + seconds
    model, tokenizer = load_checkpoint("nano")
    heard, found = clip(), {}
    near = copy.deepcopy(model).cuda()
    model.backbone.fused = model.flow.fused = False  # torch's code on both sides, and no waiting for Numba
    torch.set_num_threads(2)  # a turn is too small to be shared out among more
    lives = {
        "cpu": Session(model, tokenizer), "cuda": Session(near, tokenizer), "cuda graphs": Session(near, tokenizer)
    }  # fmt: skip
    lives["cuda graphs"].graphed = Graphed(near)
    said = {}
    for name, session in lives.items():  # on the GPU mostly compiling
        began = time.monotonic()
        said[name] = [(r.decision, r.p_speak, r.text) for r in live(session, heard)]
        print(f"{name}: {len(heard)} turns in {time.monotonic() - began:.1f} s", flush=True)
    for name in ("cuda", "cuda graphs"):
        pairs = list(zip(said["cpu"], said[name], strict=True))
        found[f"{name} beside cpu"] = {
            "turns": len(pairs),
            "same_decisions": sum(a[0] == b[0] for a, b in pairs),
            "same_words": sum(a[2] == b[2] for a, b in pairs),
            "p_speak_apart": max(abs(a[1] - b[1]) for a, b in pairs),
        }
    found["graphs_failed"] = {str(k)[:80]: e[-1500:] for k, e in graphs_of(lives["cuda graphs"]).failed.items()}
    print(json.dumps(found, indent=1), flush=True)
    for name, on in (("cuda graphs", True), ("cuda", False), ("cpu", False)):
        if time.monotonic() > end:
            break
        steered = SteeredModel(model if name == "cpu" else near, tokenizer)
        session = Session(steered, tokenizer)  # pyright: ignore[reportArgumentType]
        session.graphed = Graphed(near) if on else None
        found[f"ms a turn, {name}"] = milliseconds(session, steered, turns=120 if on else 30)
        if on:
            graphs = graphs_of(session)
            found["timed_graphs"] = {"kept": len(graphs.kept), "failed": [str(k)[:80] for k in graphs.failed]}
        print(name, json.dumps(found[f"ms a turn, {name}"]), flush=True)
    return found


def graphs_of(session: Session) -> Any:
    """The session's graphs; it has some."""
    assert session.graphed is not None
    return session.graphed


def live(session: Session, heard: np.ndarray) -> list[Any]:
    """The clip, before an empty grey room."""
    grey = np.full((2, 120, 160, 3), 90, np.uint8)
    return [session.step(sound, grey) for sound in heard]


def milliseconds(session: Session, steered: SteeredModel, turns: int) -> dict[str, Any]:
    """Silent and speaking turns with a camera, their decisions imposed: medians, 99th percentiles, stages."""
    rng = np.random.default_rng(0)
    spent: dict[str, list[dict[str, float]]] = {"silent": [], "speaking": []}
    for turn in range(turns + 20):
        kind = ("silent", "silent", "speaking", "speaking")[turn % 4]
        steered.imposed = SPEAK if kind == "speaking" else SILENT
        sound = (0.05 * rng.standard_normal(TURN_SAMPLES)).astype(np.float32)
        frames = rng.integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
        if session.device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        timings = session.step(sound, frames).timings
        if session.device.type == "cuda":
            torch.cuda.synchronize()
        if turn >= 20:  # compiling, capturing, waking up
            spent[kind].append(timings | {"whole": time.perf_counter() - began})
    result: dict[str, Any] = {}
    for kind, timings in spent.items():
        whole = 1e3 * np.array([t["whole"] for t in timings])
        stages = {name: round(1e3 * float(np.median([t.get(name, 0.0) for t in timings])), 3) for name in timings[-1]}
        p50, p99 = (round(float(np.percentile(whole, p)), 3) for p in (50, 99))
        result[kind] = {"p50": p50, "p99": p99, "stages": stages}
    return result


@torch.no_grad()
def rows(seconds: float, out: Path) -> dict[str, Any]:
    """Each row of a product of 1, 64, 65, 512 and 4096 rows: the same bits as in the largest?"""
    from tml_kernels.matmul import matmul

    found: dict[str, Any] = {}
    for d in (4096, 1000):
        x = torch.randn(4096, d, device="cuda").bfloat16()
        weight = torch.randn(d, d, device="cuda").bfloat16()
        whole = matmul(x, weight)
        exact = x.double() @ weight.double().T
        found[f"d {d}, relative error"] = float((whole.double() - exact).norm() / exact.norm())
        for n in (1, 17, 64, 65, 512, 2047):
            found[f"d {d}, {n} rows"] = bool(torch.equal(matmul(x[:n], weight), whole[:n]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no CUDA GPU here")
    end = time.monotonic() + options.seconds
    out = Path(os.environ.get("OUT") or ROOT / "benchmarks" / "results")
    out.mkdir(parents=True, exist_ok=True)
    import triton

    versions = {"cuda": torch.version.cuda, "triton": triton.__version__}
    found: dict[str, Any] = {"date": now(), "machine": machine(), "gpu": torch.cuda.get_device_name(), **versions}
    parts: dict[str, Callable[[float, Path], Any]] = {
        "tests": tests, "sessions": sessions, "rows": rows, "kernels": kernels
    }  # fmt: skip
    for name in options.parts:
        left, began = end - time.monotonic(), time.monotonic()
        print(f"--- {name} ({left:.0f} s left)", flush=True)
        try:
            found[name] = parts[name](max(5.0, SHARE.get(name, 0.5) * left), out) if left > 5 else "no time left"
        except Exception:  # one part's failure must not cost the others
            found[name] = {"error": traceback.format_exc()}
            print(found[name]["error"], flush=True)
        found[f"{name}_seconds"] = round(time.monotonic() - began, 1)
        (out / "gpu_check.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
