"""The command line: instant help, one clear sentence for every expected error, the right exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from typer.testing import CliRunner, Result

from tml_lab import cli, doctor
from tml_lab.model.checkpoint import checkpoint_dir

COMMANDS = ("doctor", "lab", "train", "bench", "redteam", "play", "serve")


def tml(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def one_sentence(result: Result) -> str:
    """What stood on stderr, which must be one line and no traceback."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("tml"), result.stderr
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put a recording stand-in where a command finds its worker, and give back the list of its calls."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(module: str, function: str, error: Exception | None = None) -> list[Any]:
        def worker(*args: Any, **kwargs: Any) -> None:
            calls.append((args, kwargs))
            if error is not None:
                raise error

        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{function: worker}))
        return calls

    yield stand_in


def test_help_lists_every_command() -> None:
    result = tml("--help")
    assert result.exit_code == 0
    assert all(command in result.output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert tml(command, "--help").exit_code == 0


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, tml_lab.cli; heavy = {'torch', 'numpy', 'plotly', 'jupyterlab', 'soundfile', 'rich'};"
        "print(*heavy & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() in ([], ["rich"])  # some versions of typer import rich themselves


def test_no_such_command_is_wrong_usage() -> None:
    assert tml("sing").exit_code == 2


def test_doctor_reports_every_check_and_exits_by_the_essentials(monkeypatch: pytest.MonkeyPatch) -> None:
    good = doctor.Check("torch", True, "2.13.0", essential=True)
    optional = doctor.Check("flite", False, "not found", "sudo apt-get install flite")
    broken = doctor.Check("soxr", False, "OSError: libsoxr.so", "pip install soxr", essential=True)
    monkeypatch.setattr(doctor, "run_checks", lambda checkpoint: iter([good, optional]))
    result = tml("doctor")
    assert (
        result.exit_code == 0 and "2.13.0" in result.output and "sudo apt-get install flite" in result.output
    )
    monkeypatch.setattr(doctor, "run_checks", lambda checkpoint: iter([good, optional, broken]))
    result = tml("doctor")
    assert result.exit_code == 1 and "pip install soxr" in result.output
    assert "soxr" in one_sentence(result) and "flite" not in one_sentence(result)


def test_doctor_finds_what_this_machine_has() -> None:
    assert doctor.check_python().ok and doctor.check_torch().ok
    assert doctor.check_module("soundfile", "").ok
    lacking = doctor.check_module("no_such_package_anywhere", "pip install it")
    assert not lacking.ok and lacking.remedy == "pip install it"
    lost = doctor.check_checkpoint("no-such-checkpoint")
    assert not lost.ok and lost.essential and "tml train" in lost.remedy


def test_doctor_sees_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        check = doctor.check_port(taken.getsockname()[1])
    assert not check.ok and not check.essential and "next free port" in check.remedy


def test_lab_starts_jupyterlab_at_the_first_chapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chapter = tmp_path / "00_start_here.ipynb"
    chapter.touch()
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda command: started.append(command) or 0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert tml("lab", str(chapter), "--port", "9999", "--no-browser").exit_code == 0
    [command] = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={tmp_path.resolve()}" in command
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in command
    assert command[-2:] == ["--port=9999", "--no-browser"]
    assert cli.FIRST_CHAPTER.name == "00_start_here.ipynb"
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert tml("lab", str(chapter)).exit_code == 0 and started[-1][-1] == "--allow-root"


def test_lab_without_its_notebook(tmp_path: Path) -> None:
    result = tml("lab", str(tmp_path / "none.ipynb"))
    assert result.exit_code == 1 and "no notebook" in one_sentence(result)


def test_train_hands_its_options_over(room: Any) -> None:
    calls = room("tml_lab.train.loop", "train")
    assert tml("train", "--preset", "pico", "--minutes", "2", "--no-resume", "--seed", "7").exit_code == 0
    [(_, options)] = calls
    assert options["preset"] == "pico" and options["out"] == Path("runs/pico")
    assert (options["minutes"], options["resume"], options["seed"]) == (2.0, False, 7)


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """In an empty folder: which of the works of a training run were begun; each ends where it begins."""
    from tml_lab.train import lessons, loop, parallel

    begun: list[str] = []

    def stand_in(name: str) -> Any:
        def worker(*_: Any, **__: Any) -> None:
            begun.append(name)
            raise ValueError(f"{name} was reached")

        return worker

    works = {lessons: ["ensure_episodes", "make_shard"], parallel: ["launch"]}
    works |= {loop: ["train_vocoder", "rendered_meanwhile", "open_trainer", "folder_for"]}
    for room, names in works.items():
        for name in names:
            monkeypatch.setattr(room, name, stand_in(name))
    monkeypatch.chdir(tmp_path)
    return begun


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ("--preset giga", "no preset 'giga' can be trained; choose one of pico, pico_eyes, nano, mini"),
        ("--preset inkling_small", "'inkling_small' can be trained; choose one of pico"),
        ("--preset giga --init pico", "no preset 'giga'"),
        ("--preset giga --processes 2", "no preset 'giga'"),
        ("--lesson juggling", "no lesson is called 'juggling'; choose one of easy, all"),
        ("--render 2", "one lesson only"),
        ("--init nowhere", "checkpoints/nowhere: fetch the checkpoint again or train one"),
        ("--init damaged", "damaged cannot be read"),
        ("--init pico --eyes nowhere", "checkpoints/nowhere"),
        ("--init pico --eyes pico-eyes", "eyes of a model 128 wide do not fit into one 64 wide"),
        ("--eyes pico-eyes", "name one with init"),
        ("--device gpu9", "'gpu9' is not a device: use cpu or cuda"),
        ("--device cuda", "no CUDA device: use --device cpu"),
        ("--device cuda --processes 2", "no CUDA device: use --device cpu"),
        ("--sharded", "among several processes only: start with --processes 2"),
        ("--sharded --score-every 5", "leave out score_every or sharded"),
        ("--seed -3", "a seed is a whole number from 0 on, not -3"),
        ("--out damaged/model.safetensors", "cannot write into damaged"),
        ("--out damaged/model.safetensors/run", "not a directory): choose another --out folder"),
        ("--out begun", "the state of the run in begun is damaged: begin anew with --no-resume"),
        ("--out of_pico", "of_pico is a pico, whose vocoder is of another size than that of the preset nano"),
        ("--out begun --no-resume", "the vocoder in begun is damaged, or of another preset"),
    ],
)
def test_train_refuses_in_one_sentence_before_anything_is_rendered_or_written(
    wishes: str, says: str, reached: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    shutil.copytree(checkpoint_dir("pico"), tmp_path / "of_pico")
    torch.save({"heads": {}}, tmp_path / "of_pico" / "trainer.pt")
    for file in ("damaged/model.safetensors", "begun/trainer.pt", "begun/vocoder/vocoder.safetensors"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"no weights")
    for part in ("config.json", "tokenizer.json"):
        (tmp_path / "damaged" / part).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    result = tml("train", *wishes.split())
    assert reached == []
    assert result.exit_code == 1 and says in one_sentence(result)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("wishes", "work"),
    [
        ("--preset pico", "ensure_episodes"),
        ("--preset nano --init nano --eyes pico-eyes --lesson glimpses", "ensure_episodes"),
        ("--preset pico --render 2", "folder_for"),
        ("--preset pico --processes 2 --sharded", "launch"),
    ],
)
def test_train_with_nothing_against_it_goes_to_work(wishes: str, work: str, reached: list[str]) -> None:
    assert work in one_sentence(tml("train", *wishes.split())) and reached == [work]


def test_play_hands_its_options_over(room: Any, tmp_path: Path) -> None:
    calls = room("tml_lab.play", "play")
    typed = ("--text", "0: repeat every number", "--text", "2.5: stop")
    result = tml("play", "in.wav", "--out", str(tmp_path), "--video", "in.mp4", *typed)
    assert result.exit_code == 0, result.output
    [(arguments, options)] = calls
    assert arguments == (Path("in.wav"), tmp_path)
    assert options["video"] == Path("in.mp4")
    assert options["text"] == ["0: repeat every number", "2.5: stop"]


@pytest.mark.parametrize("line", ["stop", "2.5", "two: stop", "-1: stop", "nan: stop", "inf: stop", "3:  "])
def test_play_says_how_typed_words_are_written(line: str, tmp_path: Path) -> None:
    result = tml("play", "x.wav", "--out", str(tmp_path), "--text", line)
    assert result.exit_code == 1 and "SECONDS: words" in one_sentence(result)


def test_play_without_its_input(tmp_path: Path) -> None:
    result = tml("play", str(tmp_path / "none.wav"), "--out", str(tmp_path))
    assert result.exit_code == 1 and "none.wav" in one_sentence(result)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("in.wav holds no sound; give a file with at least one sample."), "holds no sound"),
        (FileNotFoundError(2, "No such file or directory", "a/b.json"), "a/b.json"),
        (ModuleNotFoundError("No module named 'soxr'", name="soxr"), "tml doctor"),
        (KeyError("surprise"), "--debug"),
        (RuntimeError("several\nlines\nof text"), "several lines of text"),
    ],
)
def test_an_error_is_one_sentence(room: Any, tmp_path: Path, error: Exception, said: str) -> None:
    room("tml_lab.play", "play", error)
    result = tml("play", "in.wav", "--out", str(tmp_path))
    assert result.exit_code == 1 and said in one_sentence(result)


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    for arguments in (["--debug", "lab", "none.ipynb"], ["lab", "none.ipynb", "--debug"]):
        command = [sys.executable, "-m", "tml_lab.cli", *arguments]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 1 and "Traceback" in run.stderr and "FileNotFoundError" in run.stderr


def test_bench_lists_the_benchmarks() -> None:
    result = tml("bench", "--list")
    assert result.exit_code == 0
    assert {"timespeak", "cuespeak"} <= {line.split()[0] for line in result.output.splitlines()}


def test_bench_hands_its_options_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tml_lab.bench import registry

    calls: list[Any] = []
    monkeypatch.setattr(registry, "run", lambda *args, **kwargs: calls.append((args, kwargs)))
    file = tmp_path / "r.json"
    result = tml("bench", "timespeak", "fdb", "--json", str(file), "--items", "3", "--split", "human")
    assert result.exit_code == 0, result.output
    [(arguments, options)] = calls
    assert arguments == (["timespeak", "fdb"],)
    assert options["json_path"] == file
    assert (options["n"], options["splits"], options["checkpoint"]) == (3, ["human"], "nano")


def test_redteam_hands_its_options_over(room: Any, tmp_path: Path) -> None:
    calls = room("tml_lab.bench.redteam_report", "run")
    result = tml("redteam", "--items", "7", "--seed", "3", "--json", str(tmp_path / "r.json"))
    assert result.exit_code == 0, result.output
    options = {"items": 7, "seed": 3, "json_path": tmp_path / "r.json", "device": "cpu", "keep": None}
    assert calls == [(("nano",), options)]
    assert tml("redteam", "--items", "0").exit_code == 2


def test_bench_with_an_unknown_name_is_one_sentence() -> None:
    result = tml("bench", "juggling")
    assert result.exit_code == 1 and "timespeak" in one_sentence(result)


@pytest.mark.slow
def test_lab_really_serves_the_chapter(tmp_path: Path) -> None:
    chapter = tmp_path / "my first chapter.ipynb"
    chapter.write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])  # should somebody take it meanwhile, Jupyter takes the next
    command = [sys.executable, "-m", "tml_lab.cli", "lab", str(chapter), "--no-browser", "--port", port]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as server:
        try:
            assert server.stderr is not None
            links = (re.search(r"http://127\.0\.0\.1\S+", line) for line in server.stderr)
            link = next(found.group() for found in links if found)
            assert "/lab/tree/my%20first%20chapter.ipynb" in link
            patient = urllib3.Retry(connect=10, backoff_factor=0.1)  # the link is printed before it listens
            page = urllib3.request("GET", link, retries=patient, timeout=60)
            assert page.status == 200 and b"JupyterLab" in page.data
        finally:
            os.killpg(server.pid, signal.SIGKILL)
