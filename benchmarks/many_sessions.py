"""Many live sessions on one model: their latency over time, how many two cores hold, and Moshi's batch beside them.

    OMP_NUM_THREADS=1 python benchmarks/many_sessions.py --json benchmarks/results/many_sessions.json

All sessions' turns are due at once, which is the worst case, and are computed by `Together.step`; a turn's latency is
the wall-clock time of that call. Sessions see a 160x120 camera (12 patches a turn) unless said otherwise.

1. *Over time*: 8 sessions, 150 turns of 16 positions in (12 seen, 4 heard) and 7 out (a decision, two words, four
   own-voice tokens: the most that a turn holds; they are forced by pushing logits, so that every turn has them). Each
   session is compared with itself alone, to the bit: results of every turn, and the state at the end. Latency of the
   last 25 turns by that of 25 early ones, for sessions that are new (their past grows all the while: a global layer
   sees up to 4096 tokens) and for sessions that were old before (it is full; nothing grows any more). And new ones for
   three times as long: the curve, in medians of 25 turns, rises until the past is full, and then no more.
2. *How many*: the most sessions whose p99 is below 200 ms, all of them old; silent, speaking, or in *conversation*
   (each hears a recorded clip from another place on, and decides for itself).
3. *Beside Moshi*: `LMGen` with random weights at the same active size, batch = sessions, both on the same cores; 200 ms
   are 2.5 of its steps. Model and rival take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from turn_latency import CLIP, build_rival, load, summary

from tml_lab.bench.machine import machine, now
from tml_lab.bench.runner import SteeredModel
from tml_lab.config import TURN_SAMPLES, TURN_SECONDS, VIDEO_SIZE
from tml_lab.model.text import AUDIO, SILENT, SPEAK, TextTokenizer
from tml_lab.signal.audio import read_audio
from tml_lab.stream.session import Session
from tml_lab.stream.together import Together
from tml_lab.stream.turn_result import TurnResult
from tml_lab.worlds.humans import recordings_dir

SESSIONS, TURNS, EDGE = 8, 150, 25
KINDS = ("silent", "conversation", "speaking")
BATCHES = (1, 2, 4, 8, 16)
MOST = 64  # sessions that are tried


class Talkative(SteeredModel):
    """Says two words in each turn in which it speaks: the mark that ends words is pushed out of reach."""

    def text_logits(self, hidden: Tensor) -> Tensor:
        logits = super().text_logits(hidden)
        logits[..., self._tokenizer.id(AUDIO)] -= 1e4
        return logits


class Crowd:
    """Sessions on one model that are all due at once.

    Args:
        kind: "silent", "speaking" (imposed, with two words) or "conversation".
        past: a session that they are all forks of, or None for new ones.
    """

    def __init__(
        self, model: Any, tokenizer: TextTokenizer, n: int, kind: str, camera: bool, past: Session | None = None
    ) -> None:
        self.kind, self.camera, self.rng = kind, camera, np.random.default_rng(n)
        self.sessions: list[Session] = []
        for i in range(n):
            own: Any = model if kind == "conversation" else Talkative(model, tokenizer)
            if own is not model:
                own.imposed = SPEAK if kind == "speaking" else SILENT
            session = Session(own, tokenizer, seed=i)
            if past is not None:
                session.state = past.fork().state
            self.sessions.append(session)
        clip = recordings_dir() / "demo" / CLIP
        sound = read_audio(clip.with_suffix(".flac"))
        self.heard = sound[: len(sound) // TURN_SAMPLES * TURN_SAMPLES].reshape(-1, TURN_SAMPLES)
        about = json.loads(clip.with_suffix(".json").read_text())
        self.typed = {int(seconds / TURN_SECONDS): text for seconds, text in about["typed"]}
        self.turns = self.spoke = 0

    def inputs(self) -> list[tuple[np.ndarray, np.ndarray | None, str | None]]:
        """The next turn's input of each session."""
        width, height = VIDEO_SIZE
        given = []
        for i in range(len(self.sessions)):
            frames = self.rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8) if self.camera else None
            at = (self.turns + 11 * i) % len(self.heard)
            if self.kind == "conversation":
                given.append((self.heard[at], frames, self.typed.get(at)))
            else:
                given.append(((0.05 * self.rng.standard_normal(TURN_SAMPLES)).astype(np.float32), frames, None))
        return given

    def turn(self, together: Together) -> tuple[float, list[TurnResult], list[Any]]:
        """One turn of all: seconds, what came of it, and what was given."""
        given = self.inputs()
        began = time.perf_counter()
        outcomes = together.step(self.sessions, given)
        seconds = time.perf_counter() - began
        self.turns += 1
        results = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            results.append(outcome)
        self.spoke += sum(result.decision == SPEAK for result in results)
        return seconds, results, given


def an_old_session(model: Any, tokenizer: TextTokenizer, camera: bool) -> Session:
    """A session whose rings are full: what it sees does not grow any more."""
    steered = SteeredModel(model, tokenizer)
    steered.imposed = SILENT
    session = Session(steered, tokenizer)  # pyright: ignore[reportArgumentType]
    slots = max(t.shape[2] for name, t in session.state.items() if name.endswith(".k"))
    noise, frames = np.random.default_rng(1), None
    while int(session.state["pos"]) < slots:
        if camera:
            frames = noise.integers(0, 256, (2, *VIDEO_SIZE[::-1], 3), dtype=np.uint8)
        typed = None if camera else "one two three four five six seven eight nine ten " * 5  # faster than silence
        session.step((0.05 * noise.standard_normal(TURN_SAMPLES)).astype(np.float32), frames, typed)
    return session


def differs(session: Session, alone: Session, one: TurnResult, other: TurnResult) -> bool:
    """Whether two sessions' turns, or what they keep, differ in a bit."""
    apart = one.decision != other.decision or one.words != other.words or one.p_speak != other.p_speak
    apart |= not np.array_equal(one.audio, other.audio)
    states = zip(session.state.items(), alone.state.items(), strict=True)
    return apart or any(a.numpy().tobytes() != b.numpy().tobytes() for (_, a), (_, b) in states)


def over_time(
    model: Any, tokenizer: TextTokenizer, threads: int, turns: int, past: Session | None, compared: bool
) -> dict[str, Any]:
    """Latency of eight sessions turn by turn; where `compared`, each beside itself alone."""
    crowd = Crowd(model, tokenizer, SESSIONS, "speaking", camera=True, past=past)
    alone = Crowd(model, tokenizer, SESSIONS, "speaking", camera=True, past=past).sessions if compared else []
    seconds: list[float] = []
    unequal, before = 0, int(crowd.sessions[0].state["pos"])
    with Together(threads) as together:
        for turn in range(turns):
            spent, results, given = crowd.turn(together)
            seconds.append(spent)
            for i, session in enumerate(alone):
                own = session.step(*given[i])
                whole = turn % EDGE == EDGE - 1 or turn == turns - 1  # states are long: not compared in every turn
                apart = differs(crowd.sessions[i], session, results[i], own) if whole else not np.array_equal(
                    results[i].audio, own.audio
                )  # fmt: skip
                unequal += apart or results[i].words != own.words or results[i].p_speak != own.p_speak
    after = int(crowd.sessions[0].state["pos"])
    start = min(10, turns - 2 * EDGE)  # the first turns warm caches up
    head, tail = (float(np.median(part)) for part in (seconds[start : start + EDGE], seconds[-EDGE:]))
    result: dict[str, Any] = {
        "curve_ms": [round(1e3 * float(np.median(seconds[n : n + EDGE])), 2) for n in range(0, turns - EDGE + 1, EDGE)],
        "sessions": SESSIONS, "turns": turns, "positions_a_turn": round((after - before) / turns, 2),
        "head_ms": round(1e3 * head, 2), "tail_ms": round(1e3 * tail, 2), "tail_by_head": round(tail / head, 3),
        **summary(seconds),
    }  # fmt: skip
    if compared:
        result["unequal_turns"] = unequal
    return result


def how_many(
    model: Any, tokenizer: TextTokenizer, threads: int, turns: int, kind: str, camera: bool, past: Session
) -> dict[str, Any]:
    """The most sessions whose p99 is below 200 ms, and what was measured on the way."""
    tried: dict[int, dict[str, float]] = {}

    def fits(n: int) -> bool:
        crowd = Crowd(model, tokenizer, n, kind, camera, past)
        with Together(threads) as together:
            for _ in range(3):
                crowd.turn(together)
            tried[n] = summary([crowd.turn(together)[0] for _ in range(turns)])
        return tried[n]["p99_ms"] < 1e3 * TURN_SECONDS

    low, high = 0, MOST + 1  # low fits, high does not
    guess = SESSIONS
    while high - low > 1:
        if fits(guess):
            low = guess
        else:
            high = guess
        likely = int(guess * 1e3 * TURN_SECONDS / tried[guess]["p99_ms"])
        guess = min(max(likely, low + 1), high - 1)
    return {"most": low, "of": MOST, "tried": {str(n): tried[n] for n in sorted(tried)}}


def beside_moshi(
    model: Any, tokenizer: TextTokenizer, threads: int, turns: int, batches: Sequence[int], past: Session
) -> dict[str, Any]:
    """Ours and `LMGen`, 200 ms of as many sessions each, in turns; medians and their ratio."""
    from moshi_step import STEPS_PER_TURN

    rows: dict[str, Any] = {}
    for n in batches:
        rival = build_rival(model.count_parameters()["active"], tokenizer.size, batch=n)
        if rival is None:
            return {}
        crowds = {kind: Crowd(model, tokenizer, n, kind, True, past) for kind in KINDS}
        seconds: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "moshi_200ms")}
        with Together(threads) as together:
            for turn in range(turns + 3):
                for kind, crowd in crowds.items():
                    seconds[kind].append(crowd.turn(together)[0])
                torch.set_num_threads(threads)  # the rival's own way to several cores
                began = time.perf_counter()
                for _ in range(int(2 * STEPS_PER_TURN)):  # five steps are 400 ms
                    rival.step()
                seconds["moshi_200ms"].append((time.perf_counter() - began) / 2)
                torch.set_num_threads(1)
                if turn == 2:
                    for each in seconds.values():
                        each.clear()
        figures: dict[str, Any] = {kind: summary(values) for kind, values in seconds.items()}
        theirs = figures["moshi_200ms"]["p50_ms"]
        figures["ratio_of_medians"] = {kind: round(figures[kind]["p50_ms"] / theirs, 3) for kind in KINDS}
        rows[str(n)] = figures
        rows["moshi"] = {"dim": rival.dim, "layers": rival.n_layers, "active_parameters": rival.active}
        del rival, crowds
        gc.collect()
    return rows


def show(result: dict[str, Any], console: Console) -> None:
    """The result as three tables."""
    title = f"{SESSIONS} sessions x (16 in + 7 out), {result['threads']} threads, {result['checkpoint']}"
    table = Table(title=title, title_justify="left")
    for column in ("sessions", "head ms", "tail ms", "tail / head", "p99 ms", "unequal turns"):
        table.add_column(column, justify="right")
    for name, row in result["over_time"].items():
        cells = (row["head_ms"], row["tail_ms"], row["tail_by_head"], row["p99_ms"], row.get("unequal_turns", ""))
        table.add_row(name, *map(str, cells))
    console.print(table)
    if "how_many" not in result:
        return
    table = Table(title="most sessions with p99 below 200 ms", title_justify="left")
    for column in ("", *KINDS):
        table.add_column(column, justify="right")
    for camera, row in result["how_many"].items():
        table.add_row(camera, *(str(row[kind]["most"]) for kind in KINDS))
    console.print(table)
    table = Table(title="median of a turn by Moshi's 200 ms, batch = sessions", title_justify="left")
    for column in ("sessions", *KINDS, "moshi ms"):
        table.add_column(column, justify="right")
    for n, row in result["beside_moshi"].items():
        if n != "moshi":
            ratios = [f"{row['ratio_of_medians'][kind]:.2f}" for kind in KINDS]
            table.add_row(n, *ratios, f"{row['moshi_200ms']['p50_ms']:.0f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="nano", help="shipped name or folder; random weights if missing")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="that step sessions, and the rival's")
    parser.add_argument("--quick", action="store_true", help="fewer turns: the shape of the result, not its figures")
    parser.add_argument("--over-time", action="store_true", help="the first part only")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    threads = options.threads
    model, tokenizer, label = load(options.checkpoint)
    load_before = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    turns, tried, beside, batches = (60, 10, 5, (1, 4)) if options.quick else (TURNS, 100, 25, BATCHES)
    old = {camera: an_old_session(model, tokenizer, camera) for camera in (True, False)}
    result = {
        "benchmark": "many_sessions",
        "date": now(),
        "machine": machine(),
        "threads": threads,
        "load_average": load_before,
        "checkpoint": label,
        "over_time": {
            "new": over_time(model, tokenizer, threads, turns, None, compared=True),
            "old": over_time(model, tokenizer, threads, turns, old[True], compared=True),
            "on": over_time(model, tokenizer, threads, 3 * turns, None, compared=False),
        },
    }
    if not options.over_time:
        result["how_many"] = {
            name: {kind: how_many(model, tokenizer, threads, tried, kind, camera, old[camera]) for kind in KINDS}
            for name, camera in (("camera", True), ("no camera", False))
        }
        result["beside_moshi"] = beside_moshi(model, tokenizer, threads, beside, batches, old[True])
    show(result, Console())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
